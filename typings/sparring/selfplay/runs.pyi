from selfplay.runs import *

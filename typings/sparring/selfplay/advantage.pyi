from selfplay.advantage import *

from selfplay.average import *

from selfplay.probe import *

from selfplay.sweeps import *

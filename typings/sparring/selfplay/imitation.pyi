from selfplay.imitation import *

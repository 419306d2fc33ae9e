from selfplay.run import *

from selfplay.training import *

from selfplay.separation import *

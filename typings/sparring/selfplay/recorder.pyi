from selfplay.recorder import *

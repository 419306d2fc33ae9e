from selfplay.self_improving import *

from selfplay.self_training import *

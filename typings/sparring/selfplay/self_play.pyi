from selfplay.self_play import *

from selfplay.self_instruct import *

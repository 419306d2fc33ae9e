from selfplay.sampled import *

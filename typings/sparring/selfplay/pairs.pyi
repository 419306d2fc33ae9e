from selfplay.pairs import *

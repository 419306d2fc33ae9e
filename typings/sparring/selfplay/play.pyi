from selfplay.play import *

from selfplay.play_method import *

from selfplay.sprt import *

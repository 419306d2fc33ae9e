from selfplay.judged import *

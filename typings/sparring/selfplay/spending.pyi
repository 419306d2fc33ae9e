from selfplay.spending import *

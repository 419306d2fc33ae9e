from selfplay.payoffs import *

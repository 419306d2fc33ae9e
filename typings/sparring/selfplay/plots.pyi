from selfplay.plots import *

from selfplay.measures import *

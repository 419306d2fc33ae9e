from selfplay.guard import *

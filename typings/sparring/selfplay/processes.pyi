from selfplay.processes import *

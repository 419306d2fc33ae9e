from selfplay.sequential import *

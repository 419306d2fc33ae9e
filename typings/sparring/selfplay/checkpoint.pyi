from selfplay.checkpoint import *

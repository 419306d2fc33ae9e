from selfplay.pool import *

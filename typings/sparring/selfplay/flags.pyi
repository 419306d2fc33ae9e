from selfplay.flags import *

from selfplay.skills import *

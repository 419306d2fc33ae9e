from selfplay.forks import *

from selfplay.ratings import *

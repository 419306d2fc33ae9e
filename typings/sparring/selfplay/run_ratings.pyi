from selfplay.run_ratings import *

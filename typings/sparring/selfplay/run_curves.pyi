from selfplay.run_curves import *

from selfplay.evolve_run import *

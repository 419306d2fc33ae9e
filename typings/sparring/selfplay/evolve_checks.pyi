from selfplay.evolve_checks import *

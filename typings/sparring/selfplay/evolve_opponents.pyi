from selfplay.evolve_opponents import *

from selfplay.evolve_guard import *

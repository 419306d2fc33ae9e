from selfplay.evolve_assembly import *

from selfplay.evolve import *

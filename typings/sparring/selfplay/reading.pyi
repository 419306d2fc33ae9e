from selfplay.reading import *

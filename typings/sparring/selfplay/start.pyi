from selfplay.start import *

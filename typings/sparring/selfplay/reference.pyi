from selfplay.reference import *

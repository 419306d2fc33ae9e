from selfplay.preference import *

from selfplay.tournament import *

from selfplay.metagame import *

from selfplay.metagame_noise import *

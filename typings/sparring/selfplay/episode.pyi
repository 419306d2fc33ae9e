from selfplay.episode import *

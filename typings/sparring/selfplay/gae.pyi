from selfplay.gae import *

from selfplay.losses import *

from selfplay.preference_losses import *

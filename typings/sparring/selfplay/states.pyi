from selfplay.states import *

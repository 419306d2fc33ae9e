from selfplay.settings import *

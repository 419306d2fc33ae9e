from selfplay.void_reasons import *

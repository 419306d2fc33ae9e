from selfplay.gate import *

from selfplay.rules import *

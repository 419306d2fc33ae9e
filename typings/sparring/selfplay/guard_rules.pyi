from selfplay.guard_rules import *

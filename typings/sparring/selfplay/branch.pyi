from selfplay.branch import *

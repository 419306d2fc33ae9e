from selfplay.groups import *

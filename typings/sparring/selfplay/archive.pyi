from selfplay.archive import *

from selfplay.trl import *

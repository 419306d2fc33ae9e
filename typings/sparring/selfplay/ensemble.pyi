from selfplay.ensemble import *

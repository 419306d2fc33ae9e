from selfplay.standings import *

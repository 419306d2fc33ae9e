from selfplay.match_log import *

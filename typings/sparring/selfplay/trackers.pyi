from selfplay.trackers import *

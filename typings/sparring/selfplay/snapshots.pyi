from selfplay.snapshots import *

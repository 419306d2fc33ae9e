from selfplay.shards import *

from selfplay.versions import *

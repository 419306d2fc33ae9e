from selfplay.manifest import *

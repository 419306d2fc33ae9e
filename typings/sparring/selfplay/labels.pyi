from selfplay.labels import *

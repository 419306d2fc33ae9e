from selfplay import *

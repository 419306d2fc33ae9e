from selfplay.assembly import *

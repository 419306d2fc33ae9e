from selfplay.davidson import *

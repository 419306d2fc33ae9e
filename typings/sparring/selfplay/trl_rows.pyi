from selfplay.trl_rows import *

from selfplay.run_state import *

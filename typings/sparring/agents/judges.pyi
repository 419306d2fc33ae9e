from agents.judges import *

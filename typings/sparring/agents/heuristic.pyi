from agents.heuristic import *

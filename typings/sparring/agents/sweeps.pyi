from agents.sweeps import *

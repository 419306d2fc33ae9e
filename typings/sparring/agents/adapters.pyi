from agents.adapters import *

from agents.tiny import *

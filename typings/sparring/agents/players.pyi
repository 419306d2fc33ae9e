from agents.players import *

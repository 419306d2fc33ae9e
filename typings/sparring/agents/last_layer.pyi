from agents.last_layer import *

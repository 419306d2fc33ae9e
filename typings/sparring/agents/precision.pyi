from agents.precision import *

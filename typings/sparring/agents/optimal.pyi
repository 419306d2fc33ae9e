from agents.optimal import *

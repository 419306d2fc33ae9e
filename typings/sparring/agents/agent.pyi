from agents.agent import *

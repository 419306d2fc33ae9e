from agents.whole import *

from agents.prefix import *

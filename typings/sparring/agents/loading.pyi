from agents.loading import *

from agents.endpoint import *

from agents.decoding import *

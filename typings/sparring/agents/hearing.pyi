from agents.hearing import *

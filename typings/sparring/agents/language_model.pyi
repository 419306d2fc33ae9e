from agents.language_model import *

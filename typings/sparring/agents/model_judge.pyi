from agents.model_judge import *

from agents.model_files import *

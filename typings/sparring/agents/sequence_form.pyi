from agents.sequence_form import *

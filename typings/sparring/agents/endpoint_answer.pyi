from agents.endpoint_answer import *

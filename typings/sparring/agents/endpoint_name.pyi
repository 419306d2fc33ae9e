from agents.endpoint_name import *

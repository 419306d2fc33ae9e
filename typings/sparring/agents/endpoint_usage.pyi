from agents.endpoint_usage import *

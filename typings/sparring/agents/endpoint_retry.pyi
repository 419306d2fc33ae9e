from agents.endpoint_retry import *

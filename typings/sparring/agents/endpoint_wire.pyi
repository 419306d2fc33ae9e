from agents.endpoint_wire import *

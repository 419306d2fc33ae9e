from envs.negotiation import *

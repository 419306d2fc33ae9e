from envs.proposer import *

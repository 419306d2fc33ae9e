from envs.letters import *

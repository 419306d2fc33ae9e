from envs.kuhn import *

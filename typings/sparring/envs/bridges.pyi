from envs.bridges import *

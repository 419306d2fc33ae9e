from envs.contest import *

from envs.check import *

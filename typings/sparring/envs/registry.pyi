from envs.registry import *

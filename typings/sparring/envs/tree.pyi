from envs.tree import *

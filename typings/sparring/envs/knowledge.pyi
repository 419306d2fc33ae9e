from envs.knowledge import *

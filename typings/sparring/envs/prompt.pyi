from envs.prompt import *

from envs.quotes import *

from envs.trading import *

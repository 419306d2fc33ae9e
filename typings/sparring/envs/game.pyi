from envs.game import *

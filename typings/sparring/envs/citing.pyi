from envs.citing import *

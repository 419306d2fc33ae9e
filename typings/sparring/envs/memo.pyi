from envs.memo import *

from envs.playthrough import *

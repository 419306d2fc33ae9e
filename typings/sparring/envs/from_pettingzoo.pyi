from envs.from_pettingzoo import *

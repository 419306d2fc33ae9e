from envs.debate import *

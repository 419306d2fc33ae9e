from envs.digits import *

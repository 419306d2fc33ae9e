from envs.arithmetic import *

from envs.judging import *

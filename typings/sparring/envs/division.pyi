from envs.division import *

from envs.bridged import *

from envs.nim import *

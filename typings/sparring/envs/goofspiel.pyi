from envs.goofspiel import *

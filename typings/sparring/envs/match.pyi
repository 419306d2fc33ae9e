from envs.match import *

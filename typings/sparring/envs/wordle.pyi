from envs.wordle import *

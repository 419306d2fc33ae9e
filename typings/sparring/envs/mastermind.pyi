from envs.mastermind import *

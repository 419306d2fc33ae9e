from envs.mlp import *

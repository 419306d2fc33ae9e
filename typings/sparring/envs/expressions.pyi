from envs.expressions import *

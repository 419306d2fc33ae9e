from envs.textarena_moves import *

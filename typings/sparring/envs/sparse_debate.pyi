from envs.sparse_debate import *

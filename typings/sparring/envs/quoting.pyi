from envs.quoting import *

from envs.check_cases import *

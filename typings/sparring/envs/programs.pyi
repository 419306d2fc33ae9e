from envs.programs import *

from envs.talk import *

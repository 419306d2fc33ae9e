from envs.text_space import *

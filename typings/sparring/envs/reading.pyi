from envs.reading import *

from envs.catalogue import *

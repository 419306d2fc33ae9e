from envs.chains import *

from envs.two_truths import *

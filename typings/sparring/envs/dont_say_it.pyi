from envs.dont_say_it import *

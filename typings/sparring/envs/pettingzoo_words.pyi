from envs.pettingzoo_words import *

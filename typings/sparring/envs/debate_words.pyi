from envs.debate_words import *

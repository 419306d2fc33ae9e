from envs.word_lists import *

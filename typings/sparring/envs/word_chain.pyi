from envs.word_chain import *

from envs.word_forms import *

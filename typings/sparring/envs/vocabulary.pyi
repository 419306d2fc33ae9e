from envs.vocabulary import *

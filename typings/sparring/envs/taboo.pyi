from envs.taboo import *

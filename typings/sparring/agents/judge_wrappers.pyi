from agents.judge_wrappers import *

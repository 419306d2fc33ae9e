from agents.judge_counts import *

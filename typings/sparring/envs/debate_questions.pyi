from envs.debate_questions import *

from envs.twenty_questions import *

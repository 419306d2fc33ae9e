from envs.quote_judge import *

from envs.from_reasoning_gym import *

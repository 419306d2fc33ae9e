from envs.critic import *

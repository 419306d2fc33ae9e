from envs.critic_rewards import *

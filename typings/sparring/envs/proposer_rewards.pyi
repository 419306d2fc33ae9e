from envs.proposer_rewards import *

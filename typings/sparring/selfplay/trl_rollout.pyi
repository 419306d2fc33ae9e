from selfplay.trl_rollout import *

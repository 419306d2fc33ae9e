from selfplay.policy_gradient import *

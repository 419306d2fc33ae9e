from selfplay.learner import *

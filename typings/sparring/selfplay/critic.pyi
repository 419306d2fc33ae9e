from selfplay.critic import *

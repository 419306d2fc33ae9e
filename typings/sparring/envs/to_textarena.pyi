from envs.to_textarena import *

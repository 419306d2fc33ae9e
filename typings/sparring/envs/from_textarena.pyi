from envs.from_textarena import *

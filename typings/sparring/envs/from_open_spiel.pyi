from envs.from_open_spiel import *

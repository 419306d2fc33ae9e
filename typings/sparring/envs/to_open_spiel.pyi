from envs.to_open_spiel import *

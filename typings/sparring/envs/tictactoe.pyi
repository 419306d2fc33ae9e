from envs.tictactoe import *

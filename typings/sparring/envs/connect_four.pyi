from envs.connect_four import *

from envs.records import *

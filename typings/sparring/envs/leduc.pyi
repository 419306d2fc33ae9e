from envs.leduc import *

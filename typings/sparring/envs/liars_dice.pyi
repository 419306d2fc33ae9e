from envs.liars_dice import *

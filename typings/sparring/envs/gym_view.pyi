from envs.gym_view import *

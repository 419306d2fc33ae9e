from envs.tasks import *

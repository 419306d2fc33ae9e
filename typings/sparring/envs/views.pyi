from envs.views import *

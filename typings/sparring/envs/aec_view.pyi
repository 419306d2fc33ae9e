from envs.aec_view import *

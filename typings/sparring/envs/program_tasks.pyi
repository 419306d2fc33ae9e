from envs.program_tasks import *

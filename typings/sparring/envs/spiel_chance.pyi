from envs.spiel_chance import *

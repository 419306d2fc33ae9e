from selfplay.launch import *

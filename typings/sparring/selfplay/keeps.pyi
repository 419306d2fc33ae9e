from selfplay.keeps import *

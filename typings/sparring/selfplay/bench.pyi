from selfplay.bench import *

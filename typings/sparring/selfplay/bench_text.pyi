from selfplay.bench_text import *

from selfplay.bench_notes import *

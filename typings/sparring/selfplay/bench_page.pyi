from selfplay.bench_page import *

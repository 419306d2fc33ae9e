from selfplay.suites import *

from selfplay.findings import *

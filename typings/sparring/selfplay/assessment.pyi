from selfplay.assessment import *

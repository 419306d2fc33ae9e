from selfplay.funnel import *

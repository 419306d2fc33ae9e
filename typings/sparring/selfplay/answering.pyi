from selfplay.answering import *

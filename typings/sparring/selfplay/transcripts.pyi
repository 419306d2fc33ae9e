from selfplay.transcripts import *

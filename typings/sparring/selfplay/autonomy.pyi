from selfplay.autonomy import *

from selfplay.settings_checks import *

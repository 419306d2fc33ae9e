from selfplay.page_sections import *

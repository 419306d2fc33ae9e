from selfplay.page_html import *

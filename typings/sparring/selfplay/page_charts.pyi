from selfplay.page_charts import *

"""What the labs show: figures legible in both themes with descriptions, tables, and explorers."""

from course_lib.show.attention import explorer
from course_lib.show.charts import axes, bars, curves
from course_lib.show.maps import attention_grid, attention_map, heatmap
from course_lib.show.next_token import sampling_explorer
from course_lib.show.picture import LiveFigure, figure
from course_lib.show.refusals import refusal_plane
from course_lib.show.routing import router_explorer
from course_lib.show.states import slider
from course_lib.show.tables import table
from course_lib.show.tokens import tokenizer_explorer

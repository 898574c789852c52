"""Whole training runs, from data to a folder with a model and its results: what `course train` does.

A recipe is a function that takes a `Run` (its folder, preset, seed and number of steps) and returns the run's
`Results`.
"""

from collections.abc import Callable

from course_lib.recipes.language import gpt, moe
from course_lib.recipes.peft_sweep import peft
from course_lib.recipes.positions_sweep import positions
from course_lib.recipes.relations_sweep import two_relations
from course_lib.recipes.results import Results
from course_lib.recipes.run import Run


def _vision_text(run: Run) -> Results:
    from course_lib.recipes.vision_text import vision_text  # torchvision is not in the core; the others need none of it

    return vision_text(run)


RECIPES: dict[str, Callable[[Run], Results]] = {
    "gpt": gpt,
    "moe": moe,
    "peft": peft,
    "positions": positions,
    "two-relations": two_relations,
    "vision-text": _vision_text,
}

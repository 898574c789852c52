"""Whole training runs, from data to a folder with a model and its results: what `course train` does.

A recipe is a function of the folder that everything goes to, a seed, a number of steps in place of the preset's own,
and whether to go on with what is in that folder; it returns its numbers.
"""

from pathlib import Path

from course_lib.recipes.language import gpt, moe
from course_lib.recipes.peft_sweep import peft


def _vision_text(out: Path, seed: int = 0, steps: int | None = None, resume: bool = False) -> dict[str, float]:
    from course_lib.recipes.vision_text import vision_text  # torchvision is not in the core; the others need none of it

    return vision_text(out, seed, steps, resume)


RECIPES = {"gpt": gpt, "moe": moe, "peft": peft, "vision-text": _vision_text}

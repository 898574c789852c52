"""Whole training runs, from data to a folder with a model and its results: what `course train` does.

A recipe is a function of the folder that everything goes to, a seed, a number of steps in place of the preset's own,
and whether to go on with what is in that folder; it returns its numbers.
"""

from course_lib.recipes import vision_text
from course_lib.recipes.language import gpt, moe

RECIPES = {"gpt": gpt, "moe": moe, "vision-text": vision_text.vision_text}

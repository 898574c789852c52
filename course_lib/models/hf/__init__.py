"""The families of transformers whose folders are read and written."""

from course_lib.models.hf.gpt import GPT2, LLAMA

FAMILIES = (GPT2, LLAMA)

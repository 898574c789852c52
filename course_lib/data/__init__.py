"""Data sets, tokenizers, published weights and synthetic worlds. Returns arrays and tensors; never trains."""

from course_lib.data.packages.fetching import credits, fetch, fetch_all, listing
from course_lib.errors import DataError

__all__ = ["DataError", "credits", "fetch", "fetch_all", "listing"]

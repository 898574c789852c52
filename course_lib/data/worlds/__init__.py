"""Synthetic worlds, small enough that the best cheating answer can be computed exactly."""

from course_lib.data.worlds.draws import largest_share
from course_lib.data.worlds.recall import AssociativeRecall, RecallBatch
from course_lib.data.worlds.relations import RelationsBatch, TwoRelations

__all__ = [
    "AssociativeRecall",
    "RecallBatch",
    "RelationsBatch",
    "TwoRelations",
    "largest_share",
]

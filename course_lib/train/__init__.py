"""One loop for every model, and the objectives it brings down."""

from course_lib.train.checkpoint import CheckpointError
from course_lib.train.config import TrainConfig
from course_lib.train.folder import Folder
from course_lib.train.loop import History, TrainingDiverged, train
from course_lib.train.losses import (
    Loss,
    answers,
    caption,
    contrastive,
    cross_entropy,
    masked_token,
    masked_tokens,
    next_token,
)
from course_lib.train.seq2seq import seq2seq, span_corruption

__all__ = [
    "CheckpointError",
    "Folder",
    "History",
    "Loss",
    "TrainConfig",
    "TrainingDiverged",
    "answers",
    "caption",
    "contrastive",
    "cross_entropy",
    "masked_token",
    "masked_tokens",
    "next_token",
    "seq2seq",
    "span_corruption",
    "train",
]

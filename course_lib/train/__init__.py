"""One loop for every model, and the objectives it brings down."""

from course_lib.train.checkpoint import CheckpointError
from course_lib.train.config import TrainConfig
from course_lib.train.loop import TrainingDiverged, train
from course_lib.train.losses import (
    Loss,
    contrastive_loss,
    cross_entropy,
    mask_tokens,
    masked_token_loss,
    next_token_loss,
)
from course_lib.train.metrics import read_metrics
from course_lib.train.run_folder import RunFolder
from course_lib.train.seq2seq import seq2seq_loss, span_corruption

__all__ = [
    "CheckpointError",
    "Loss",
    "RunFolder",
    "TrainConfig",
    "TrainingDiverged",
    "contrastive_loss",
    "cross_entropy",
    "mask_tokens",
    "masked_token_loss",
    "next_token_loss",
    "read_metrics",
    "seq2seq_loss",
    "span_corruption",
    "train",
]

"""One loop for every model, and the objectives it brings down."""

from course_lib.train.loop import History, TrainConfig, TrainingDiverged, train
from course_lib.train.losses import contrastive, masked_token, masked_tokens, next_token

__all__ = [
    "History",
    "TrainConfig",
    "TrainingDiverged",
    "contrastive",
    "masked_token",
    "masked_tokens",
    "next_token",
    "train",
]

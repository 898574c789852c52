"""One loop for every model, and the objectives it brings down."""

from course_lib.train.loop import History, TrainConfig, TrainingDiverged, train
from course_lib.train.losses import masked_token, masked_tokens, next_token

__all__ = ["History", "TrainConfig", "TrainingDiverged", "masked_token", "masked_tokens", "next_token", "train"]

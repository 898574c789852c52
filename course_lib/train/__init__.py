"""One loop for every model, and the objectives it brings down."""

from course_lib.train.loop import History, TrainConfig, TrainingDiverged, train
from course_lib.train.losses import next_token

__all__ = ["History", "TrainConfig", "TrainingDiverged", "next_token", "train"]

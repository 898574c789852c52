"""Training: one loop for every model. These are the names that most runs need; `losses` and `seq2seq` have more."""

from course_lib.train.config import TrainConfig
from course_lib.train.loop import TrainingDiverged, train
from course_lib.train.losses import Loss, cross_entropy, next_token_loss
from course_lib.train.metrics import read_metrics
from course_lib.train.run_folder import RunFolder

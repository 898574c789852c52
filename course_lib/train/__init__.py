"""Training: one loop for every model. These are the names that most runs need; `losses` and `seq2seq` have more.

To read the room, begin with `losses`, what is minimised; then `config` and `optim`, the settings and how they move the
weights; then `loop`, which brings these together. `run_folder`, `run_state`, `checkpoint` and `metrics` are what a run
writes, and how it resumes. `precision`, `memory` and `interrupts` are about the machine, `mixture` is what a mixture of
experts adds to the loss, `snapshots` measures a model as it learns, and `seq2seq` is one more objective.
"""

from course_lib.train.config import TrainConfig
from course_lib.train.loop import TrainingDiverged, train
from course_lib.train.losses import Loss, cross_entropy, next_token_loss
from course_lib.train.metrics import read_metrics
from course_lib.train.run_folder import RunFolder

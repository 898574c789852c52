"""Synthetic worlds, small enough that the best cheating answer can be computed exactly."""

from course_lib.data.worlds.arithmetic import ArithmeticChains, ChainBatch
from course_lib.data.worlds.biographies import Biographies, MentionBatch
from course_lib.data.worlds.countdown import Countdown, CountdownBatch
from course_lib.data.worlds.few_shot import FewShotBatch, FewShotLabels
from course_lib.data.worlds.functions import LinearFunctions, RegressionBatch
from course_lib.data.worlds.induction import InductionBatch, RepeatedBlocks
from course_lib.data.worlds.instructions import Instructions
from course_lib.data.worlds.made_up_words import MadeUpWords
from course_lib.data.worlds.mirror import MirrorBatch, MirrorLanguage
from course_lib.data.worlds.recall import AssociativeRecall, RecallBatch
from course_lib.data.worlds.relations import RelationsBatch, TwoRelations
from course_lib.data.worlds.requests import RequestBatch, Requests
from course_lib.data.worlds.sampling import largest_share
from course_lib.data.worlds.scenes import SceneBatch, Scenes
from course_lib.data.worlds.sounds import SoundBatch, Sounds
from course_lib.data.worlds.waiter import Waiter
from course_lib.data.worlds.words import word_tokenizer

__all__ = [
    "ArithmeticChains",
    "AssociativeRecall",
    "Biographies",
    "ChainBatch",
    "Countdown",
    "CountdownBatch",
    "FewShotBatch",
    "FewShotLabels",
    "InductionBatch",
    "Instructions",
    "LinearFunctions",
    "MadeUpWords",
    "MentionBatch",
    "MirrorBatch",
    "MirrorLanguage",
    "RecallBatch",
    "RegressionBatch",
    "RelationsBatch",
    "RepeatedBlocks",
    "RequestBatch",
    "Requests",
    "SceneBatch",
    "Scenes",
    "SoundBatch",
    "Sounds",
    "TwoRelations",
    "Waiter",
    "largest_share",
    "word_tokenizer",
]

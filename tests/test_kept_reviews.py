"""The kept run of `course train reviews` says what the page on few shots does."""

import pytest

from course_lib.measure import committed_run
from course_lib.recipes.reviews_sweep import SEED

KEPT = committed_run("reviews", SEED, size="cpu")


@pytest.mark.parametrize("kind", ["true", "flipped", "half-right", "calibrated"])
def test_smollm2_is_right_more_often_than_a_coin_whatever_labels_it_is_shown(kind):
    assert KEPT[f"reviews.{kind}.later.from"] > 0.5


@pytest.mark.parametrize("kind", ["flipped", "half-right", "calibrated"])
def test_no_difference_between_kinds_of_labels_can_be_seen(kind):
    assert KEPT[f"reviews.{kind}-less-true.from"] < 0 < KEPT[f"reviews.{kind}-less-true.to"]


@pytest.mark.parametrize("shots", [1, 2, 4, 8])
def test_examples_make_it_worse(shots):
    assert KEPT[f"reviews.shots.{shots}-less-0.to"] < 0

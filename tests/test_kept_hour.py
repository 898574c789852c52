"""The hour's mixture and its dense equivalent are trained at the rates of the kept trial."""

import pytest

from course_lib.measure import tuned_rates
from course_lib.recipes.language import PRESETS
from course_lib.recipes.moe_rates import COMPARISON, RECIPE


@pytest.mark.parametrize("arm", ["dense", "mixture"])
def test_the_hour_has_the_rates_of_its_trial(arm):
    hour = PRESETS[RECIPE]["hour"]
    rates = {"dense": hour.dense_lr, "mixture": hour.train.lr}
    assert rates[arm] == tuned_rates(RECIPE, COMPARISON)[arm]

"""The kept run of `course train scaling` belongs to the code that is here, and each best rate is bracketed."""

import pytest

from course_lib.measure import committed_run
from course_lib.recipes import scaling_sweep as sweep

PLAN = sweep.PRESETS["cpu"]
HELD = list(PLAN.cells((PLAN.held_out,)))


@pytest.mark.parametrize("seed", sweep.SEEDS)
def test_the_run_is_whole(seed):
    kept = committed_run("scaling", seed, size="cpu")
    wanted = {sweep.number_key(*cell, what) for cell in PLAN.cells() for what in (*PLAN.rates, "test")}
    wanted |= {sweep.number_key(*cell, what) for cell in HELD for what in ("predicted", "test")}
    rates = kept.keys() - wanted
    assert wanted <= kept.keys()
    # The held-out budget was trained at one rate in each cell.
    assert len(rates) == len(HELD)
    assert rates <= {sweep.number_key(*cell, rate) for cell in HELD for rate in PLAN.rates}


@pytest.mark.parametrize("cell", list(PLAN.cells()))
def test_the_best_rate_is_inside_the_grid(cell):
    assert PLAN.rates[0] < sweep.best_rates()[cell] < PLAN.rates[-1]

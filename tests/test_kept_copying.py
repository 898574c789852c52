"""What the lab and the page on emergence say of the kept sweep holds in the kept numbers."""

from course_lib.measure import committed_run
from course_lib.recipes.copying_sweep import KEPT, PRESETS, RATES, Size, number_key

SWEEP = committed_run("copying", KEPT, size="cpu")
SHARED = 1e-2  # the rate that all sizes have in the first part of the lab


def at(size, rate, step):
    return SWEEP[number_key(size, rate, f"at-{step}")]


def test_longer_training_at_the_shared_rate_is_enough():
    for width in (16, 32, 64):
        assert at(Size(2, width), SHARED, 1200) > 0.95
    assert at(Size(2, 16), SHARED, 350) < 0.15
    assert at(Size(2, 64), SHARED, 350) > 0.9
    half = [SWEEP[number_key(Size(2, width), SHARED, "half")] for width in (16, 64)]
    assert 1.8 < half[0] / half[1] < 2.5, "width 16 takes about twice as long"


def test_the_best_rates_are_at_neither_end_and_the_narrow_models_want_a_larger_one():
    best = {size: max(RATES, key=lambda rate: at(size, rate, 350)) for size in PRESETS["cpu"].sizes}
    assert best[Size(2, 16)] == best[Size(2, 32)] == 3e-2
    assert best[Size(2, 64)] == SHARED
    assert not {RATES[0], RATES[-1]} & set(best.values())


def test_one_layer_copies_at_no_rate():
    copying = [at(Size(1, 64), rate, step) for rate in RATES for step in PRESETS["cpu"].looks]
    assert max(copying) < PRESETS["cpu"].world.unordered_ceiling

"""The fit of a scaling law: it finds what was planted, and an outlier pulls it less with Huber's loss."""

import math

import pytest
import torch

from course_lib.exercises.ch07_scaling_laws.best_split import best_split
from course_lib.exercises.ch07_scaling_laws.isoflop_minimum import isoflop_minimum
from course_lib.measure.scaling import PRINTED, PUBLISHED, REFITTED, ScalingLaw, fit_law


def runs(law, noise=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n, d = torch.cartesian_prod(torch.logspace(7.5, 10, 8), torch.logspace(9, 11.5, 8)).double().T
    return n, d, law.loss(n, d) * (noise * torch.randn(len(n), generator=generator)).exp()


@pytest.mark.parametrize("law", [REFITTED, PUBLISHED, ScalingLaw(0.5, 30.0, 200.0, 0.25, 0.45)])
@pytest.mark.parametrize("delta", [math.inf, 1e-3])
def test_a_planted_law_is_found(law, delta):
    found = fit_law(*runs(law), delta=delta)
    assert found.alpha == pytest.approx(law.alpha, abs=1e-3)
    assert found.beta == pytest.approx(law.beta, abs=1e-3)
    assert found.e == pytest.approx(law.e, rel=5e-3)
    n, d, loss = runs(law)
    assert (found.loss(n, d) / loss).log().abs().max() < 1e-3


def test_an_outlier_pulls_less_with_hubers_loss():
    n, d, loss = runs(REFITTED, noise=0.003)
    loss[0] *= 1.3
    squares, robust = (fit_law(n, d, loss, delta=delta).growth - REFITTED.growth for delta in (math.inf, 1e-3))
    assert abs(robust) < abs(squares) / 2


def test_a_loss_that_rises_with_size_and_tokens_has_no_law():
    n, d, loss = runs(REFITTED)
    with pytest.raises(ValueError, match="no law with E, A and B"):
        fit_law(n, d, 10 - loss)


CHINCHILLA = 6 * 70e9 * 1.4e12  # operations


@pytest.mark.parametrize(("law", "ratio"), [(REFITTED, 18.38), (PUBLISHED, 59.02), (PRINTED, 92.83)])
def test_the_best_tokens_per_parameter_that_the_page_names(law, ratio):
    n, d = best_split(CHINCHILLA, *law[1:])
    assert float(d / n) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(("factor", "price"), [(0.5, 0.00479), (0.1, 0.05510)])
def test_what_a_smaller_model_costs_as_the_page_says(factor, price):
    n, d = (float(x) for x in best_split(CHINCHILLA, *REFITTED[1:]))
    assert REFITTED.loss(factor * n, d / factor) - REFITTED.loss(n, d) == pytest.approx(price, abs=5e-6)


@pytest.mark.parametrize(("factor", "share"), [(0.5, 0.8445), (0.1, 0.1844)])
def test_the_share_of_the_budget_that_is_as_good_as_a_smaller_model(factor, share):
    n, d = best_split(CHINCHILLA, *REFITTED[1:])
    wanted = REFITTED.loss(n * factor, d / factor)
    # The lab looks through a thousand shares, so it is up to a thousandth higher.
    assert float(REFITTED.loss(*best_split(CHINCHILLA * (share + 1e-3), *REFITTED[1:]))) < wanted
    assert float(REFITTED.loss(*best_split(CHINCHILLA * (share - 1e-3), *REFITTED[1:]))) > wanted


@pytest.mark.parametrize(("centred", "growth"), [(True, 0.5126), (False, 0.4397)])
def test_the_growth_that_parabolas_find_without_noise(centred, growth):
    def lowest(budget):
        best, _ = best_split(budget, *REFITTED[1:])
        factors = 8 ** torch.linspace(-1, 1, 9, dtype=torch.float64)
        sizes = best * factors if centred else torch.logspace(7.5, 10.5, 9, dtype=torch.float64)
        return isoflop_minimum(sizes, REFITTED.loss(sizes, budget / 6 / sizes))

    assert float((lowest(1e22) / lowest(1e18)).log10() / 4) == pytest.approx(growth, abs=5e-5)
    assert REFITTED.growth == pytest.approx(0.5126, abs=5e-5)


def test_how_much_rounding_raises_the_published_losses():
    budget, ratio = torch.cartesian_prod(torch.logspace(18.8, 21.5, 9), torch.logspace(0.3, 2.7, 26)).double().T
    n = (budget / 6 / ratio).sqrt()
    assert (PRINTED.loss(n, ratio * n) / PUBLISHED.loss(n, ratio * n)).log().mean() == pytest.approx(0.0178, abs=5e-5)

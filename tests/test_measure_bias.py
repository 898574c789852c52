"""WEAT against loops that follow the paper's formulas word for word, and against what must be true of any such test."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.measure import bias
from course_lib.measure.bias import (
    association,
    clusters_agree,
    count_vectors,
    weat_difference,
    weat_effect_size,
    weat_p_value,
)


def draw(seed, *sizes, width=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, width, generator=generator, dtype=torch.float64) for size in sizes]


def naive(x, y, a, b):
    """s(w, A, B) of each word, the effect size and the p-value, by plain loops."""

    def cosine(u, v):
        return sum(p * q for p, q in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)

    def s(w):
        return np.mean([cosine(w, v) for v in a]) - np.mean([cosine(w, v) for v in b])

    x, y, a, b = (vectors.tolist() for vectors in (x, y, a, b))
    of_x, of_y = [s(w) for w in x], [s(w) for w in y]
    effect = (np.mean(of_x) - np.mean(of_y)) / np.std(of_x + of_y)
    every = of_x + of_y
    greater = total = 0
    for chosen in itertools.combinations(range(len(every)), len(x)):
        others = [every[i] for i in range(len(every)) if i not in chosen]
        difference = np.mean([every[i] for i in chosen]) - np.mean(others)
        greater += difference >= np.mean(of_x) - np.mean(of_y) - 1e-12
        total += 1
    return effect, greater / total


sizes = st.tuples(*[st.integers(1, 5)] * 4).filter(lambda four: four[0] + four[1] > 2)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), four=sizes)
def test_the_formulas_of_the_paper(seed, four):
    sets = draw(seed, *four)
    effect, p = naive(*sets)
    assert weat_effect_size(*sets) == pytest.approx(effect, abs=1e-9)
    assert weat_p_value(*sets) == pytest.approx(p, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 6), scale=st.floats(0.01, 100))
def test_what_is_true_of_every_test(seed, n, scale):
    x, y, a, b = draw(seed, n, n, 3, 4)
    d = weat_effect_size(x, y, a, b)
    assert abs(d) <= 2 + 1e-12
    assert weat_effect_size(y, x, a, b) == pytest.approx(-d, abs=1e-9)
    assert weat_effect_size(x, y, b, a) == pytest.approx(-d, abs=1e-9)
    assert weat_effect_size(x * scale, y, a, b / scale) == pytest.approx(d, abs=1e-9)
    assert association(x, a, b).abs().max() <= 2
    ways = math.comb(2 * n, n)
    p, back = weat_p_value(x, y, a, b), weat_p_value(y, x, a, b)
    assert p * ways == pytest.approx(round(p * ways), abs=1e-6)
    assert p >= 1 / ways
    assert p + back >= 1 + 1 / ways - 1e-9  # the division itself is counted on both sides


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), order=st.permutations(range(4)))
def test_the_same_sum_in_another_order_is_the_same(seed, order):
    """The same words on both sides: every division has its mirror image, with no difference at all in its middle."""
    x, a, b = draw(seed, 4, 3, 3)
    _, p = naive(x, x[order], a, b)
    assert p > 0.5
    assert weat_p_value(x, x[order], a, b) == pytest.approx(p, abs=1e-12)


def test_words_that_could_not_be_further_apart():
    a, b = torch.tensor([[1.0, 0]]), torch.tensor([[-1.0, 0]])
    x, y = a.repeat(4, 1), b.repeat(4, 1)
    assert association(x, a, b).tolist() == [2] * 4
    assert weat_effect_size(x, y, a, b) == 2
    assert weat_p_value(x, y, a, b) == 1 / 70
    assert weat_p_value(y, x, a, b) == 1


def test_p_is_uniform_where_there_is_no_difference():
    """Of 300 tests with random targets, at most the share q has p <= q, and nearly that; within 5 standard errors."""
    p = torch.tensor([weat_p_value(*draw(seed, 4, 4, 3, 3)) for seed in range(300)])
    for q in (10 / 70, 35 / 70, 60 / 70):
        assert abs(float((p <= q + 1e-9).double().mean()) - q) < 5 * (q * (1 - q) / 300) ** 0.5


def test_random_divisions_agree_with_all(monkeypatch):
    x, y, a, b = draw(0, 9, 9, 4, 4)
    # With associations that are all well above 0, a sum over one word more or less is another sum.
    sets = x + 3, y + 3, a + 3, b - 3
    assert association(sets[0], sets[2], sets[3]).min() > 1
    exact, draws = weat_p_value(*sets), 20_000
    monkeypatch.setattr(bias, "_EXACT", 0)
    sampled = weat_p_value(*sets, draws=draws)
    assert abs(sampled - exact) < 5 * (exact * (1 - exact) / draws) ** 0.5 + 1 / draws  # 5 standard errors
    assert sampled == weat_p_value(*sets, draws=draws)
    assert sampled != weat_p_value(*sets, draws=draws, seed=1)


def test_a_random_p_is_never_zero():
    a, b = torch.tensor([[1.0, 0]]), torch.tensor([[-1.0, 0]])
    x, y = a.repeat(25, 1), b.repeat(25, 1)
    assert weat_p_value(x, y, a, b, draws=999) == pytest.approx(1 / 1000)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), nx=st.integers(1, 5), ny=st.integers(1, 5))
def test_two_sided_counts_every_difference_of_this_size(seed, nx, ny):
    x, y, a, b = draw(seed, nx, ny, 3, 3)
    every = torch.cat([association(x, a, b), association(y, a, b)]).tolist()
    total, sizes = sum(every), []
    for chosen in itertools.combinations(range(nx + ny), nx):
        inside = sum(every[i] for i in chosen)
        sizes.append(abs(inside / nx - (total - inside) / ny))
    assert weat_difference(x, y, a, b) == pytest.approx(sum(every[:nx]) / nx - sum(every[nx:]) / ny, abs=1e-9)
    p = np.mean([size >= sizes[0] - 1e-12 for size in sizes])
    assert weat_p_value(x, y, a, b, two_sided=True) == pytest.approx(p, abs=1e-12)
    assert weat_p_value(x, y, b, a, two_sided=True) == pytest.approx(p, abs=1e-12)


def test_words_in_like_sentences_have_like_vectors():
    """Words 1 and 2 are never together, but both with 3; word 4 is with 5 alone. Number 0 fills up."""
    sentences = torch.tensor([[1, 3, 0], [2, 3, 0], [4, 5, 0]] * 5)
    vectors = count_vectors(sentences, 6, width=4)
    assert vectors.shape == (6, 4)
    like = torch.nn.functional.cosine_similarity(vectors[1], vectors[[2, 4]])
    torch.testing.assert_close(like, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-6, rtol=0)
    assert vectors[0].abs().max() < 1e-6


def test_clusters_that_are_there_are_found():
    torch.manual_seed(0)
    half = torch.arange(16) % 2 == 0
    vectors = 0.1 * torch.randn(16, 5) + torch.where(half, 1.0, -1.0)[:, None] * torch.randn(5)
    assert clusters_agree(vectors, half) == 1
    assert clusters_agree(vectors, ~half) == 1  # clusters have no names
    assert clusters_agree(vectors, torch.arange(16) < 8) == 0.5


def test_what_has_no_direction_or_no_scale():
    a, b = torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 1]])
    with pytest.raises(ValueError, match="a vector of zeros points nowhere"):
        weat_effect_size(a, torch.zeros(1, 2), a, b)
    with pytest.raises(ValueError, match="all targets have the same association"):
        weat_effect_size(a, a, a, b)
    torch.manual_seed(0)
    word, a, b = torch.randn(50), torch.randn(7, 50), torch.randn(9, 50)
    with pytest.raises(ValueError, match="all targets have the same association"):  # but for rounding
        weat_effect_size(word.expand(5, 50), word.expand(3, 50), a, b)

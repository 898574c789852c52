"""The five position encodings against their closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves
from transformers.models.t5.modeling_t5 import T5Attention

from course_lib.nn.positions import (
    ALiBi,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    T5RelativeBias,
    alibi_slopes,
    rotate,
    sinusoidal_table,
)

seeds = st.integers(0, 2**31)
even = st.integers(1, 16).map(lambda n: 2 * n)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), even)
def test_sinusoidal_values(n, d):
    table = sinusoidal_table(n, d)
    # An angle up to 300 is rounded to 300 * 6e-8 = 2e-5 in float32, and sine passes that on.
    for p, i in [(0, 0), (n - 1, 0), (n // 2, d // 2 - 1), (n - 1, d // 2 - 1)]:
        angle = p / 10000 ** (2 * i / d)
        assert table[p, 2 * i].item() == pytest.approx(math.sin(angle), abs=4e-5)
        assert table[p, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=4e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50), even)
def test_sinusoidal_shift_is_one_rotation_for_all_positions(k, d):
    table = sinusoidal_table(60 + k, d).double()
    frequency = 10000.0 ** (-torch.arange(0, d, 2).double() / d)
    cos, sin = (k * frequency).cos(), (k * frequency).sin()
    rotated = torch.stack(
        (table[:60, 0::2] * cos + table[:60, 1::2] * sin, table[:60, 1::2] * cos - table[:60, 0::2] * sin), dim=-1
    ).flatten(1)
    assert_close(table[k : k + 60], rotated, rtol=0, atol=4e-5)  # angles up to 110 in float32, as above


@settings(max_examples=40, deadline=None)
@given(even, seeds)
def test_rotation_is_a_complex_product(head_dim, seed):
    x = torch.randn(2, 3, 20, head_dim, generator=torch.Generator().manual_seed(seed))
    first, second = x[..., : head_dim // 2], x[..., head_dim // 2 :]
    frequency = 500.0 ** (-torch.arange(head_dim // 2).double() * 2 / head_dim)
    turn = torch.polar(torch.ones(20, head_dim // 2).double(), torch.arange(20)[:, None] * frequency)
    expected = torch.complex(first.double(), second.double()) * turn
    rotated = rotate(x, *RotaryPositions(head_dim, theta=500.0)(20))
    # Angles up to 20 in float32 (1e-6), times numbers up to about 5.
    assert_close(rotated, torch.cat((expected.real, expected.imag), dim=-1).float(), rtol=0, atol=2e-5)
    assert_close(rotated.norm(dim=-1), x.norm(dim=-1), rtol=1e-5, atol=0)
    assert torch.equal(rotated[..., 0, :], x[..., 0, :])


@settings(max_examples=40, deadline=None)
@given(even, st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), seeds)
def test_rotated_products_depend_on_the_distance_only(head_dim, i, j, shift, seed):
    query, key = torch.randn(2, head_dim, generator=torch.Generator().manual_seed(seed)).unbind()
    cos, sin = RotaryPositions(head_dim)(100)

    def product(i, j):
        return rotate(query[None], cos[i, None], sin[i, None])[0] @ rotate(key[None], cos[j, None], sin[j, None])[0]

    # Angles up to 80 are off by 5e-6; times |query| |key|, the square root of 32 each at most, about.
    tolerance = 1e-5 * max(1.0, (query.norm() * key.norm()).item())
    assert_close(product(i, j), product(i + shift, j + shift), rtol=0, atol=tolerance)


def test_alibi_slopes():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(1).tolist() == [1 / 256]
    expected = [2.0 ** (-8 * i / 16) for i in range(1, 17)]
    assert_close(alibi_slopes(16), torch.tensor(expected))
    # The paper's rule where the heads are no power of two: 8 heads' slopes, then every second one of 16 heads'.
    assert_close(alibi_slopes(12), torch.tensor([2.0**-i for i in range(1, 9)] + expected[0:8:2]))


def test_alibi_bias_is_minus_slope_times_distance():
    layer = ALiBi(8)
    bias = layer(2, None, torch.tensor([[3, 4]]), torch.arange(5)[None])[0]
    assert bias[0].tolist() == [[-1.5, -1.0, -0.5, 0.0, -0.5], [-2.0, -1.5, -1.0, -0.5, 0.0]]
    assert_close(bias[3], bias[0] / 8)
    assert_close(layer(5)[:, 3:], bias)
    layer.slopes.fill_(1.0)
    assert layer(3)[7].tolist() == [[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("n_buckets", "max_distance"), [(32, 128), (8, 20)])
def test_t5_buckets_are_those_of_transformers(bidirectional, n_buckets, max_distance):
    relative = torch.arange(-300, 301)
    ours = T5RelativeBias(2, n_buckets, max_distance, bidirectional).bucket(relative)
    theirs = T5Attention._relative_position_bucket(relative, bidirectional, n_buckets, max_distance)
    assert torch.equal(ours, theirs)
    assert ours.unique().numel() == n_buckets - bidirectional  # distance 0 needs no bucket for "ahead"


def test_t5_bias_depends_on_the_distance_and_trains():
    layer = T5RelativeBias(3)
    bias = layer(40)
    assert_close(bias[:, 5, 2], bias[:, 39, 36])
    assert_close(bias[:, 5, 2], layer.bias.weight[3])
    bias.sum().backward()
    assert (layer.bias.weight.grad[0] > 0).all()


def test_learned_positions_share_the_last_vector_beyond_the_trained_ones():
    layer = LearnedPositions(4, 3)
    assert torch.equal(layer(3), layer.weight[:3])
    with pytest.raises(ValueError, match="6 tokens, but the model has 4 positions"):
        layer(6)
    with pytest.raises(ValueError, match="5 tokens, but the model has 4 positions"):
        layer(2, None, torch.tensor([[0, 1], [4, 0]]))
    layer.share_last = True
    assert torch.equal(layer(6), layer.weight[[0, 1, 2, 3, 3, 3]])
    layer(6).sum().backward()
    assert layer.weight.grad[:, 0].tolist() == [1, 1, 1, 3]


def test_a_table_of_your_own():
    layer = SinusoidalPositions(6)
    assert torch.equal(layer(5), sinusoidal_table(5, 6))
    layer.table = lambda n, d: torch.ones(n, d)
    assert torch.equal(layer(2), torch.ones(2, 6))


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="d = 5 must be even"):
        sinusoidal_table(3, 5)
    with pytest.raises(ValueError, match="head_dim = 3 must be even"):
        RotaryPositions(3)


@pytest.mark.parametrize(
    "make", [SinusoidalPositions, lambda d: LearnedPositions(9, d), RotaryPositions, ALiBi, T5RelativeBias]
)
def test_positions_of_their_own(make):
    layer = make(6)
    positions = torch.tensor([[0, 1, 2, 0, 1], [4, 5, 6, 7, 8]])
    for whole, chosen in zip(tree_leaves(layer(9)), tree_leaves(layer(5, None, positions)), strict=True):
        chosen = chosen.squeeze(1) if isinstance(layer, RotaryPositions) else chosen
        for row in range(2):
            at = positions[row]
            expected = whole[:, at][:, :, at] if whole.dim() == 3 else whole[at]
            assert_close(chosen[row], expected, rtol=1e-6, atol=1e-6)

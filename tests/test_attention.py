"""Attention against a float64 sum over scalars, torch's kernel, closed forms and autograd."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.testing import assert_close

from course_lib.nn.attention import (
    MultiHeadAttention,
    add_causal_mask,
    attention,
    attention_with_weights,
    causal_mask,
    padding_mask,
    prefix_mask,
)

# Inputs near 1, sums over at most 9 head dimensions and 9 keys: some tens of float32 roundings (6e-8 each) stay below.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

sizes = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "kv_heads": st.integers(1, 3),
        "groups": st.integers(1, 3),
        "n_query": st.integers(1, 9),
        "n_key": st.integers(1, 9),
        "head_dim": st.integers(1, 9),
        "value_dim": st.integers(1, 5),
    }
)
seeds = st.integers(0, 2**31)


def drawn(size, seed):
    rng = torch.Generator().manual_seed(seed)
    shape = size["batch"], size["kv_heads"]
    query = torch.randn(
        size["batch"], size["kv_heads"] * size["groups"], size["n_query"], size["head_dim"], generator=rng
    )
    key = torch.randn(*shape, size["n_key"], size["head_dim"], generator=rng)
    value = torch.randn(*shape, size["n_key"], size["value_dim"], generator=rng)
    mask = torch.rand(size["batch"], 1, size["n_query"], size["n_key"], generator=rng) < 0.6
    bias = torch.randn(query.shape[1], size["n_query"], size["n_key"], generator=rng)
    return query, key, value, mask, bias


def one_by_one(query, key, value, mask, bias, groups):
    """The definition, number by number in Python floats."""
    output = torch.zeros(*query.shape[:3], value.shape[-1], dtype=torch.float64)
    for b, h, i in torch.cartesian_prod(*map(torch.arange, query.shape[:3])).reshape(-1, 3).tolist():
        seen = [j for j in range(key.shape[2]) if mask is None or mask[b, 0, i, j]]
        scores = []
        for j in seen:
            product = sum(x * y for x, y in zip(query[b, h, i].tolist(), key[b, h // groups, j].tolist(), strict=True))
            scores.append(product / math.sqrt(query.shape[-1]) + (0 if bias is None else bias[h, i, j].item()))
        total = sum(math.exp(score) for score in scores)
        for j, score in zip(seen, scores, strict=True):
            output[b, h, i] += math.exp(score) / total * value[b, h // groups, j].double()
    return output


@settings(max_examples=40, deadline=None)
@given(sizes, seeds, st.booleans(), st.booleans())
def test_both_paths_are_the_definition(size, seed, masked, biased):
    query, key, value, mask, bias = drawn(size, seed)
    mask, bias = mask if masked else None, bias if biased else None
    expected = one_by_one(query, key, value, mask, bias, size["groups"]).float()
    explicit, weights = attention_with_weights(query, key, value, mask, bias)
    assert_close(explicit, expected, **CLOSE)
    assert_close(attention(query, key, value, mask, bias), expected, **CLOSE)
    sums = torch.ones(query.shape[:3]) if mask is None else mask.any(-1).float().expand(query.shape[:3])
    assert_close(weights.sum(-1), sums, **CLOSE)
    assert mask is None or (weights.masked_select(~mask) == 0).all()


def test_equal_to_torch():
    query, key, value = torch.randn(3, 2, 4, 70, 16).unbind()
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert_close(attention(query, key, value, causal=True), expected, **CLOSE)
    assert_close(attention(query, key, value, causal_mask(70)), expected, **CLOSE)
    assert_close(attention_with_weights(query, key, value, causal=True)[0], expected, **CLOSE)
    assert_close(attention_with_weights(query, key, value, causal_mask(70))[0], expected, **CLOSE)


def test_two_keys_in_closed_form():
    # Scores 2 and 0, divided by sqrt(4): the first weight is e / (e + 1).
    query = torch.tensor([2.0, 0, 0, 0]).reshape(1, 1, 1, 4)
    key = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]).reshape(1, 1, 2, 4)
    output, weights = attention_with_weights(query, key, torch.tensor([1.0, 0]).reshape(1, 1, 2, 1))
    assert output.item() == pytest.approx(math.e / (math.e + 1), abs=1e-6)
    assert weights[0, 0, 0, 1].item() == pytest.approx(1 / (math.e + 1), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(sizes, seeds)
def test_order_of_keys_and_a_constant_do_not_matter(size, seed):
    query, key, value, mask, bias = drawn(size, seed)
    order = torch.randperm(size["n_key"], generator=torch.Generator().manual_seed(seed))
    plain = attention(query, key, value, mask, bias)
    shuffled = attention(query, key[:, :, order], value[:, :, order], mask[..., order], bias[..., order])
    assert_close(shuffled, plain, **CLOSE)
    assert_close(attention(query, key, value, mask, bias + 3), plain, **CLOSE)


@settings(max_examples=25, deadline=None)
@given(sizes, seeds, st.booleans())
def test_gradients_of_both_paths_agree(size, seed, biased):
    query, key, value, mask, bias = drawn(size, seed)
    leaves = [t.requires_grad_() for t in (query, key, value, *([bias] if biased else []))]
    fast = attention(query, key, value, mask, bias if biased else None)
    explicit, _ = attention_with_weights(query, key, value, mask, bias if biased else None)
    direction = torch.cos(torch.arange(fast.numel()) + 0.5).reshape(fast.shape)
    for a, b in zip(
        torch.autograd.grad(fast, leaves, direction), torch.autograd.grad(explicit, leaves, direction), strict=True
    ):
        assert a.isfinite().all()  # also where a query may look nowhere
        assert_close(a, b, **CLOSE)


def test_gradients_are_derivatives():
    tensors = [t.requires_grad_() for t in torch.randn(3, 1, 2, 4, 3, dtype=torch.float64).unbind()]
    assert torch.autograd.gradcheck(lambda *t: attention_with_weights(*t, causal_mask(4)), tensors)


@pytest.mark.parametrize("weights", [None, []], ids=["fused", "with weights"])
def test_no_gradient_from_the_future(weights):
    x = torch.randn(1, 9, 8, requires_grad=True)
    layer = MultiHeadAttention(8, 2)
    output = layer(x, causal=True, attention_weights=weights)
    for t in range(9):
        (gradient,) = torch.autograd.grad(output[0, t].sum(), x, retain_graph=True)
        assert (gradient[0, t + 1 :] == 0).all()
        assert (gradient[0, : t + 1].abs().sum(-1) > 0).all()


def test_masks():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert prefix_mask(3, 2).tolist() == [[True, True, False], [True, True, False], [True, True, True]]
    assert torch.equal(prefix_mask(5, 0), causal_mask(5))
    assert padding_mask(torch.tensor([3, 1]), 3).squeeze().tolist() == [[True, True, True], [True, False, False]]
    with pytest.raises(ValueError, match="prefix of 4 does not fit in 3"):
        prefix_mask(3, 4)


def test_the_causal_mask_hides_later_keys_on_top_of_another_mask():
    now, cached = [[True, False], [True, True]], [[True, True, False], [True, True, True]]
    assert add_causal_mask(None, 2).tolist() == now
    assert add_causal_mask(None, 2, n_earlier=1).tolist() == cached
    padding = torch.tensor([[True, True, True], [False, True, True]])[:, None, None]  # batch 1 1 key
    both = add_causal_mask(padding, 2, n_earlier=1)
    assert both[0, 0].tolist() == cached
    assert both[1, 0].tolist() == [[False, True, False], [False, True, True]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(2, 7), seeds)
def test_heads_are_separate_attentions(kv_heads, groups, head_dim, n, seed):
    """The layer is, head by head, attention with its own rows of the projection, then the output matrix."""
    torch.manual_seed(seed)
    n_heads, d_model = kv_heads * groups, kv_heads * groups * head_dim
    layer = MultiHeadAttention(d_model, n_heads, kv_heads, bias=True)
    x = torch.randn(2, n, d_model)
    rows = layer.qkv(x).split(head_dim, dim=-1)
    heads = []
    for h in range(n_heads):
        kv = n_heads + h // groups
        one = [t[:, None] for t in (rows[h], rows[kv], rows[kv + kv_heads])]
        heads.append(attention(*one, causal=True)[:, 0])
    assert_close(layer(x, causal=True), layer.out(torch.cat(heads, dim=-1)), **CLOSE)


def test_head_mask_removes_a_head_and_its_gradient_is_importance():
    layer = MultiHeadAttention(12, 3)
    x = torch.randn(2, 5, 12)
    head_mask = torch.ones(3, requires_grad=True)
    assert_close(layer(x, head_mask=head_mask), layer(x), **CLOSE)
    (gradient,) = torch.autograd.grad(layer(x, head_mask=head_mask).cos().sum(), head_mask)
    for h in range(3):
        kept = torch.ones(3).index_fill(0, torch.tensor([h]), 0)
        pruned = MultiHeadAttention(12, 3)
        pruned.load_state_dict(layer.state_dict())
        pruned.out.weight.data[:, 4 * h : 4 * h + 4] = 0
        assert_close(layer(x, head_mask=kept), pruned(x), **CLOSE)
        # A central difference of step 1e-2: its error is of the order of the step's square.
        up, down = (layer(x, head_mask=torch.ones(3).index_fill(0, torch.tensor([h]), 1 + e)) for e in (1e-2, -1e-2))
        slope = (up.cos().sum() - down.cos().sum()) / 2e-2
        assert gradient[h].item() == pytest.approx(slope.item(), abs=1e-2)


def test_a_function_of_your_own():
    layer = MultiHeadAttention(12, 6, n_kv_heads=2)
    x = torch.randn(2, 5, 12)
    keep = padding_mask(torch.tensor([5, 3]), 5)
    weights, own_weights, seen = [], [], []
    expected = layer(x, keep, causal=True, attention_weights=weights)

    def own(q, k, v, mask):
        seen.append((q.shape, k.shape, v.shape, mask))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return scores.masked_fill(~mask, -math.inf).softmax(-1) @ v

    layer.attend = own
    assert_close(layer(x, keep, causal=True), expected, **CLOSE)
    shapes = {tuple(shape) for shape in seen[0][:3]}
    assert shapes == {(2, 6, 5, 2)}  # full heads, although keys and values are shared
    assert torch.equal(seen[0][3], causal_mask(5) & keep)
    assert_close(layer(x, keep, causal=True, attention_weights=own_weights), expected, **CLOSE)
    assert_close(own_weights, weights, **CLOSE)
    with pytest.raises(ValueError, match="takes no bias"):
        layer(x, bias=torch.zeros(6, 5, 5))


def test_a_bias_of_three_dimensions_takes_the_fused_path():
    """torch has no fused kernel for a mask of three dimensions and would take twice the time, silently."""
    query = torch.randn(2, 4, 8, 4)
    with torch.profiler.profile() as profile:
        attention(query, query, query, bias=torch.randn(4, 8, 8), causal=True)
    assert any("flash" in event.key for event in profile.key_averages())


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError):
        attention(torch.randn(1, 1, 2, 3), torch.randn(1, 1, 2, 4), torch.randn(1, 1, 2, 3))


@pytest.mark.parametrize("function", [attention, attention_with_weights])
def test_a_mask_of_numbers_is_refused_where_shapes_are_not_checked(function):
    query = torch.randn(1, 1, 2, 3)
    with pytest.raises(ValueError, match=r"mask has the dtype torch\.float32; pass a boolean one, True where"):
        inspect.unwrap(function)(query, query, query, torch.ones(2, 2))


def test_errors_say_what_to_do():
    query, key, value = torch.randn(1, 4, 2, 3), torch.randn(1, 3, 2, 3), torch.randn(1, 3, 2, 3)
    with pytest.raises(ValueError, match="4 query heads cannot share 3"):
        attention(query, key, value)
    with pytest.raises(ValueError, match="as many queries as keys"):
        attention(query[:, :3, :1], key, value, causal=True)
    with pytest.raises(ValueError, match=r"d_model=10 must be a multiple of n_heads=4"):
        MultiHeadAttention(10, 4)
    for sizes in ({"n_kv_heads": 0}, {"head_dim": 0}, {"n_heads": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(sizes))}=0 must be a whole number, at least 1"):
            MultiHeadAttention(**{"d_model": 12, "n_heads": 4} | sizes)
    x, angles = torch.randn(1, 3, 8), torch.ones(3, 2)
    with pytest.raises(ValueError, match="those of a memory are others"):
        MultiHeadAttention(8, 2)(x, rotary=(angles, angles), memory=x)

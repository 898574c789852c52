"""LoRA by its equation: the start, the gradients, what a rank reaches, and merging; refusals by name."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from families import FAMILIES, GPT2, IDS, LLAMA, models, shake
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.infer.quantization.quantize import quantize
from course_lib.models import GPT
from course_lib.nn.attention import MultiHeadAttention
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import LoRA, add_lora, merge_lora, unmerge_lora

U = 2.0**-24  # half the distance from 1 to the next float32: one rounding


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_every_family_starts_as_it_was_and_merges(family):
    """B is zero, so the very numbers; then the merged model is the unmerged one, with the parts of a plain one."""
    model, inputs_ = models()[family]
    model.double().eval()
    inputs_ = [x.double() if x.is_floating_point() else x for x in inputs_]
    names, before = set(model.state_dict()), model(*inputs_)
    frozen = {name: p.clone() for name, p in model.named_parameters()}
    assert add_lora(model, 3, 5.0, ("q", "k", "v", "out")) is model
    assert torch.equal(model(*inputs_), before)
    shake(model)
    after = model(*inputs_)
    assert (after - before).abs().max() > 1e-3
    small = copy.deepcopy(trainable_parameters(model))
    merge_lora(model)
    assert set(model.state_dict()) == names
    # In float64 the two differ in the last digits of 16; a scale forgotten would show in the first.
    torch.testing.assert_close(model(*inputs_), after, rtol=1e-10, atol=1e-10)
    assert not trainable_parameters(model)
    unmerge_lora(model)
    assert torch.equal(model(*inputs_), after)
    assert all(torch.equal(p, small[name]) for name, p in trainable_parameters(model).items())
    now = {name.replace(".base.", "."): p for name, p in model.named_parameters() if not p.requires_grad}
    assert now.keys() == frozen.keys()
    assert all(torch.equal(now[name], p) for name, p in frozen.items())


layers = st.tuples(st.integers(1, 40), st.integers(3, 40), st.integers(1, 9), st.floats(0.1, 30), st.booleans())


@settings(max_examples=40, deadline=None)
@given(layers, st.integers(0, 2**31))
@torch.no_grad()
def test_merged_is_unmerged_within_what_rounding_allows(sizes, seed):
    d_in, d_out, rank, alpha, bias = sizes
    torch.manual_seed(seed)
    layer = LoRA(nn.Linear(d_in, d_out, bias), rank, alpha, {"x": slice(0, d_out - 2), "y": slice(1, d_out)})
    for parameter in layer.parameters():
        parameter.normal_()
    x = torch.randn(5, d_in)
    # Either way a term of the sum meets at most d_in + 2 rank + 5 roundings (products, additions, the scale), each of
    # U relative to it (Higham 2002, lemma 3.1), so either result is that near to the exact one.
    a, b = layer.stacked()
    bias = layer.bias.abs() if bias else 0
    terms = x.abs() @ (layer.base.weight.abs() + alpha / rank * b.abs() @ a.abs()).T + bias
    n = d_in + 2 * rank + 5
    bound = 2 * n * U / (1 - n * U) * terms
    merged = x @ layer.weight.T + (layer.bias if layer.bias is not None else 0)
    exact = x.double() @ (layer.base.weight.double() + alpha / rank * (b.double() @ a.double())).T
    exact = exact + (layer.bias.double() if layer.bias is not None else 0)
    assert ((layer(x) - merged).abs() <= bound).all()
    assert ((layer(x) - exact).abs() <= bound).all()


def test_gradients_are_those_of_the_equation():
    """Of A, B and x against autograd of W0 x + b + (alpha / r) B A x written out; and of W0 where it is thawed."""
    torch.manual_seed(0)
    layer = LoRA(nn.Linear(5, 7).double(), 2, 3.0, {"q": slice(0, 3), "v": slice(4, 7)})
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]
    aim = torch.randn(2, 3, 7, dtype=torch.float64)

    def by_hand():
        rows = [layer.base(x)[..., i] for i in range(7)]
        for part, first in (("q", 0), ("v", 4)):
            added = 1.5 * x @ layer.lora_A[part].T @ layer.lora_B[part].T
            for i in range(3):
                rows[first + i] = rows[first + i] + added[..., i]
        return torch.stack(rows, dim=-1)

    torch.testing.assert_close(layer(x), by_hand())
    expected = torch.autograd.grad((by_hand() * aim).sum(), inputs)
    for found, right in zip(torch.autograd.grad((layer(x) * aim).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(found, right)
    # The same by way of `weight`, which cross-attention takes.
    by_weight = torch.autograd.grad((nn.functional.linear(x, layer.weight, layer.bias) * aim).sum(), inputs)
    for found, right in zip(by_weight, expected, strict=True):
        torch.testing.assert_close(found, right)


def test_full_rank_spans_full_tuning():
    """At full rank any change of the matrix is there, to rounding; at a lower one exactly the tail of it is missing."""
    torch.manual_seed(0)
    base = nn.Linear(6, 9).double()
    change = torch.randn(9, 6, dtype=torch.float64)
    _, s, v = torch.linalg.svd(change, full_matrices=False)
    for rank in (6, 4, 1):
        layer = LoRA(base, rank, 2.0, {"all": slice(0, 9)})
        layer.lora_A["all"].data = v[:rank]  # the best A of this rank (Eckart and Young 1936)
        layer.lora_B["all"].data = torch.linalg.lstsq(layer.scaling * v[:rank].T, change.T).solution.T
        missing = (layer.weight - base.weight - change).norm()
        torch.testing.assert_close(missing, s[rank:].norm(), rtol=1e-12, atol=1e-12)


def test_a_step_at_full_rank_is_a_step_of_full_tuning():
    """With A orthogonal and B at zero, gradient descent on B moves the weights as gradient descent on them does."""
    torch.manual_seed(0)
    base = nn.Linear(6, 9).double()
    x, aim = torch.randn(20, 6, dtype=torch.float64), torch.randn(20, 9, dtype=torch.float64)
    (full,) = torch.autograd.grad((base(x) - aim).square().mean(), base.weight)
    layer = LoRA(base.requires_grad_(False), 6, 3.0, {"all": slice(0, 9)})
    nn.init.orthogonal_(layer.lora_A["all"])
    (layer(x) - aim).square().mean().backward()
    assert layer.lora_A["all"].grad.abs().max() == 0  # B is zero
    layer.lora_B["all"].data -= 0.1 / layer.scaling**2 * layer.lora_B["all"].grad
    torch.testing.assert_close(layer.weight, base.weight - 0.1 * full)


def test_the_targets_and_the_count():
    model = add_lora(GPT(LLAMA), 3, 6.0)  # queries and values
    assert sum(p.numel() for p in trainable_parameters(model).values()) == 2 * 3 * ((16 + 16) + (16 + 8))
    assert model.tuning == {"method": "lora", "rank": 3, "alpha": 6.0, "target_modules": ["q", "v"]}
    model = add_lora(GPT(GPT2), 2, 2.0, ("qkv", "blocks.1.feed_forward.up"))
    assert {name: tuple(p.shape) for name, p in trainable_parameters(model).items()} == {
        "blocks.0.attention.qkv.lora_A.qkv": (2, 16),
        "blocks.0.attention.qkv.lora_B.qkv": (48, 2),
        "blocks.1.attention.qkv.lora_A.qkv": (2, 16),
        "blocks.1.attention.qkv.lora_B.qkv": (48, 2),
        "blocks.1.feed_forward.up.lora_A.up": (2, 16),
        "blocks.1.feed_forward.up.lora_B.up": (64, 2),
    }


def test_queries_alone_change_queries_alone():
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 4, 2)
    holder = shake(add_lora(nn.ModuleDict({"attention": attention}), 2, 2.0, "k"))
    changed = (holder["attention"].qkv.weight != holder["attention"].qkv.base.weight).any(dim=1)
    assert changed.nonzero().flatten().tolist() == list(range(8, 12))


def test_bfloat16_products_and_weights():
    """Under autocast, as full tuning, and for weights kept in bfloat16; the small part stays in float32."""
    torch.manual_seed(0)
    model = shake(add_lora(GPT(GPT2), 2, 2.0), 0.1)
    exact = model(IDS)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(IDS)
    assert rounded.dtype == torch.bfloat16
    assert 0 < (rounded - exact).abs().max() < 0.05 * exact.abs().max()  # eight bits, through two layers
    rounded.float().square().mean().backward()
    assert {p.grad.dtype for p in trainable_parameters(model).values()} == {torch.float32}
    half = shake(add_lora(GPT(GPT2).to(torch.bfloat16), 2, 2.0), 0.1)
    assert half(IDS).dtype == torch.bfloat16
    assert {p.dtype for p in trainable_parameters(half).values()} == {torch.float32}
    merge_lora(half)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


def test_it_compiles_in_one_graph():
    torch.manual_seed(0)
    model = shake(add_lora(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)), 2, 2.0, ("0", "2")))
    x = torch.randn(3, 8)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    (expected, parameters), found = (model(x), list(trainable_parameters(model).values())), compiled(x)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.square().mean(), parameters) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_tuned_anew_after_a_merge():
    torch.manual_seed(0)
    model = shake(add_lora(GPT(GPT2), 2, 2.0))
    merge_lora(model)
    before = model(IDS)
    add_lora(model, 3, 3.0, "out")
    assert torch.equal(model(IDS), before)
    assert not hasattr(model, "kept_loras")  # nor the memory that it took
    with pytest.raises(ValueError, match="there is no merged LoRA to take out"):
        unmerge_lora(model)


def test_a_whole_whose_part_is_tuned_merges_and_unmerges():
    torch.manual_seed(0)
    body = shake(add_lora(GPT(GPT2), 2, 2.0))
    noted, whole = body.tuning, nn.ModuleDict({"body": body})
    before = body(IDS)
    merge_lora(whole)
    assert body.tuning is None
    add_lora(copy.deepcopy(body), 3, 3.0)  # it is a plain model, which can be tuned anew
    unmerge_lora(whole)
    assert body.tuning == noted
    assert torch.equal(body(IDS), before)
    merge_lora(whole)
    add_lora(body, 3, 3.0)
    with pytest.raises(ValueError, match="there is no merged LoRA to take out"):
        unmerge_lora(whole)


def test_what_was_merged_is_let_go_when_it_is_quantized():
    model = add_lora(GPT(replace(GPT2, d_model=32)), 2, 2.0)
    merge_lora(model)
    quantize(model)
    assert not hasattr(model, "kept_loras")  # which would take the memory of all the floats
    with pytest.raises(ValueError, match="there is no merged LoRA to take out"):
        unmerge_lora(model)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: GPT(GPT2), {"rank": 0}, "rank=0 must be a whole number of at least 1"),
        (lambda: GPT(GPT2), {"rank": 2.5}, "rank=2.5 must be a whole number of at least 1"),
        (lambda: GPT(GPT2), {"rank": "4"}, "rank='4' must be a whole number of at least 1"),
        (lambda: GPT(GPT2), {"rank": None}, "rank=None must be a whole number of at least 1"),
        (lambda: GPT(GPT2), {"rank": math.inf}, "rank=inf must be a whole number of at least 1"),
        (lambda: GPT(GPT2), {"alpha": "8"}, "alpha='8' above 0"),
        (lambda: GPT(GPT2), {"alpha": math.nan}, "alpha=nan above 0"),
        (lambda: GPT(GPT2), {"alpha": 0}, "alpha=0 above 0"),
        (lambda: GPT(GPT2), {"target_modules": ["c_attn"]}, 'no linear layer "c_attn" in the model; there are '),
        (lambda: GPT(GPT2), {"target_modules": []}, "target_modules=\\[\\] not empty"),
        (lambda: GPT(GPT2), {"target_modules": ["lm_head"]}, "lm_head is the embedding of the tokens too"),
        (lambda: GPT(GPT2), {"target_modules": ["qkv", "k"]}, '"qkv" has queries, keys and values of blocks.0'),
        (lambda: models()["moe"][0], {"target_modules": ["up"]}, "is a mixture of experts, whose up LoRA does"),
        (lambda: add_lora(GPT(GPT2), 1, 1.0), {}, "the model is tuned by lora already"),
    ],
)
def test_refusals(model, options, message):
    model = model()
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    with pytest.raises(ValueError, match=message):
        add_lora(model, **{"rank": 2, "alpha": 2.0} | options)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before


def test_merging_what_is_not_there():
    with pytest.raises(ValueError, match="has no LoRA to merge"):
        merge_lora(GPT(GPT2))
    with pytest.raises(ValueError, match="there is no merged LoRA"):
        unmerge_lora(add_lora(GPT(GPT2), 1, 1.0))


def test_what_is_no_expert_can_have_one():
    torch.manual_seed(0)
    model = GPT(replace(models()["moe"][0].config, d_shared=4))
    add_lora(model, 2, 2.0, ("router", "shared.up"))
    shake(model)(IDS).square().mean().backward()
    assert all(p.grad is not None for p in trainable_parameters(model).values())
    assert len(trainable_parameters(model)) == 4

"""Prefix tuning, adapters and BitFit by their definitions, on every family; counts by closed formulas; refusals."""

import ast
import copy
import math
from functools import partial
from pathlib import Path

import families
import pytest
import torch
from families import FAMILIES, GPT2, IDS, LLAMA, models, shake
from torch import nn

from course_lib import tune
from course_lib.infer.quantization.quantize import quantize
from course_lib.models import GPT, GPTConfig
from course_lib.nn.attention import MultiHeadAttention, padding_mask
from course_lib.nn.block import Block
from course_lib.nn.cache import KVCache
from course_lib.nn.positions import rotate
from course_lib.tune.adapter_files import load_adapter, save_adapter
from course_lib.tune.adapters import Adapted, add_adapters
from course_lib.tune.bitfit import train_biases
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import add_lora
from course_lib.tune.prefix import Prefixed, add_prefix, drop_network, reparametrize
from course_lib.tune.sparse import add_sparse


def count(model):
    return sum(p.numel() for p in trainable_parameters(model).values())


def by_hand(layer, x, mask, bias, memory, rotary):
    """softmax(q [P_k; K]^T / sqrt(d)) [P_v; V], one query of one head at a time."""
    attention = layer.attention
    q_rows, k_rows, _ = attention.qkv_sizes
    memory = x if memory is None else memory
    weight, qkv_bias = attention.qkv.weight, attention.qkv.bias
    q = x @ weight[:q_rows].T + qkv_bias[:q_rows]
    k = memory @ weight[q_rows : q_rows + k_rows].T + qkv_bias[q_rows : q_rows + k_rows]
    v = memory @ weight[q_rows + k_rows :].T + qkv_bias[q_rows + k_rows :]
    size, groups = attention.head_dim, attention.n_heads // attention.n_kv_heads
    mixed = torch.zeros(*x.shape[:2], q_rows, dtype=x.dtype)
    for b in range(len(x)):
        for head in range(attention.n_heads):
            own, shared = slice(head * size, (head + 1) * size), head // groups
            theirs = slice(shared * size, (shared + 1) * size)
            query, key, value = q[b][:, own], k[b][:, theirs], v[b][:, theirs]
            if rotary is not None:
                query, key = rotate(query, *rotary), rotate(key, *rotary)
            for i in range(x.shape[1]):
                scores = [*(query[i] @ p / math.sqrt(size) for p in layer.key[shared])]
                values = [*layer.value[shared]]
                for j in range(len(key)):
                    if mask[b][i][j]:
                        scores.append(query[i] @ key[j] / math.sqrt(size) + bias[head][i][j])
                        values.append(value[j])
                if scores:
                    mixed[b, i, own] = torch.stack(scores).softmax(0) @ torch.stack(values)
    return mixed @ attention.out.weight.T + attention.out.bias


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("kind", ["plain", "causal", "padding", "both", "rows", "bias", "rotary", "cross"])
def test_a_prefix_is_pairs_put_in_front(kind, n):
    torch.manual_seed(0)
    attention = MultiHeadAttention(12, 6, 2 if kind != "bias" else 6, bias=True).double()
    layer = Prefixed(attention, n)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    memory = torch.randn(2, 4, 12, dtype=torch.float64) if kind == "cross" else None
    keys = 5 if memory is None else 4
    where, bias = torch.ones(2, 5, keys, dtype=torch.bool), torch.zeros(6, 5, keys, dtype=torch.float64)
    options = {}
    if kind in ("causal", "both", "bias"):
        options["causal"] = True
        where &= torch.ones(5, 5, dtype=torch.bool).tril()
    if kind in ("padding", "both"):
        options["mask"] = padding_mask(torch.tensor([5, 2]), 5)
        where &= options["mask"][:, 0]
    if kind == "rows":  # a mask with no axis of keys: some queries see all of them, some none
        options["mask"] = torch.tensor([True, False, True, True, False])[:, None]
        where &= options["mask"]
    if kind == "bias":
        options["bias"] = bias = torch.randn(6, 5, 5, dtype=torch.float64)
    if kind == "rotary":
        angle = torch.rand(5, 1, dtype=torch.float64)
        options["rotary"] = (angle.cos(), angle.sin())
    found = layer(x, memory=memory, **options)
    expected = by_hand(layer, x, where, bias, memory, options.get("rotary"))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    if n == 0:  # nothing at all
        torch.testing.assert_close(found, attention(x, memory=memory, **options), rtol=1e-12, atol=1e-12)
    kept = []
    again = layer(x, memory=memory, attention_weights=kept, **options)
    torch.testing.assert_close(again, found, rtol=1e-12, atol=1e-12)
    (weights,) = kept
    assert weights.shape == (2, 6, 5, n + keys)
    sees_something = where.any(dim=-1) | (n > 0)
    torch.testing.assert_close(weights.sum(-1), sees_something[:, None].expand(2, 6, 5).double())


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@torch.no_grad()
def test_a_prefix_made_of_a_prompt_is_that_prompt(config):
    """Whose tokens stand behind it: the logits of the longer text, which the prefix never sees as tokens."""
    torch.manual_seed(0)
    model = GPT(config).double()
    prompt, ids = torch.tensor([3, 1, 4]), IDS[:, :5]
    expected = model(torch.cat((prompt.expand(2, 3), ids), dim=1))[:, 3:]
    plain = model(ids)
    add_prefix(model, 3, prompt)
    positions = (3 + torch.arange(5)).expand(2, 5)
    torch.testing.assert_close(model(ids, positions=positions), expected, rtol=1e-12, atol=1e-12)
    assert (expected - plain).abs().max() > 0.01


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_a_prefix_from_a_network_is_kept_without_it(config, tmp_path):
    torch.manual_seed(0)
    model = GPT(config)
    direct = count(add_prefix(copy.deepcopy(model), 3))
    base = copy.deepcopy(model)
    reparametrize(add_prefix(model, 3), 5)
    kv_width = config.n_kv_heads * config.head_dim
    width = config.n_layers * 2 * kv_width
    assert count(model) == 3 * config.d_model + 5 * (config.d_model + 1) + width * (5 + 1)
    model(IDS).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trainable_parameters(model).values())
    expected = model(IDS)
    drop_network(model)
    torch.testing.assert_close(model(IDS), expected)
    assert count(model) == direct
    save_adapter(model, tmp_path)
    torch.testing.assert_close(load_adapter(base, tmp_path)(IDS), expected)


def test_the_weights_show_the_prefix_first():
    model, inputs = models()["t5"]
    shake(add_prefix(model, 2))
    logits, weights = model(*inputs, return_weights=True)
    torch.testing.assert_close(logits, model(*inputs))
    shapes = {kind: tuple(layer.shape[2:]) for kind, (layer,) in weights.items()}
    assert shapes == {"encoder": (6, 8), "decoder": (3, 5), "cross": (3, 8)}
    assert all((layer[..., :2] > 0).all() for (layer,) in weights.values())
    assert (weights["decoder"][0][..., 2:].triu(1) == 0).all()


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@torch.no_grad()
def test_a_prefix_and_a_cache(config):
    """Token by token, with texts of different lengths: as the whole text at once."""
    torch.manual_seed(0)
    model = shake(add_prefix(GPT(config).double(), 2))
    expected = model(IDS)
    cache = KVCache(config, 2, 6, dtype=torch.float64)
    found = [model(IDS[:, :3], cache=cache)] + [model(IDS[:, i : i + 1], cache=cache) for i in range(3, 6)]
    torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=1e-12, atol=1e-12)
    # Three tokens of padding on the left of the first text.
    real = torch.tensor([[False] * 3 + [True] * 3, [True] * 6])
    positions = (real.cumsum(dim=1) - 1).clamp(min=0)
    padded = torch.where(real, torch.cat((IDS[:1].roll(3, 1), IDS[1:])), 0)
    cache = KVCache(config, 2, 6, dtype=torch.float64)
    found = [
        model(padded[:, i : i + 1], mask=real[:, None, None, : i + 1], positions=positions[:, i : i + 1], cache=cache)
        for i in range(6)
    ]
    torch.testing.assert_close(found[-1][0, -1], model(IDS[:1, :3])[0, -1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[-1][1, -1], expected[1, -1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@torch.no_grad()
def test_adapters_and_biases_and_a_cache(config):
    torch.manual_seed(0)
    lora = partial(add_lora, rank=2, alpha=3.0, target_modules=("q", "v", "out", "down"))
    methods = [partial(add_adapters, width=3), lora]
    for method in methods + [train_biases] * config.bias:
        model = shake(method(GPT(config).double()))
        cache = KVCache(config, 2, 6, dtype=torch.float64)
        found = [model(IDS[:, :3], cache=cache)] + [model(IDS[:, i : i + 1], cache=cache) for i in range(3, 6)]
        torch.testing.assert_close(torch.cat(found, dim=1), model(IDS), rtol=1e-12, atol=1e-12)


def test_an_adapter_by_hand_and_near_identity():
    torch.manual_seed(0)
    layer = Adapted(nn.Linear(5, 8), 8, 3)
    x = torch.randn(4, 5)
    h = layer.layer(x)
    # No weight is above 0.02, |gelu(z)| <= |z|: each of 8 outputs sums 3 numbers, each at most 0.02 of all of |h|.
    bound = 3 * 0.02 * 0.02 * h.abs().sum(dim=-1, keepdim=True)
    assert (layer(x) - h).abs().max() > 0
    assert ((layer(x) - h).abs() <= bound).all()
    wide = Adapted(nn.Linear(64, 64), 64, 64)
    largest = max(linear.weight.abs().max() for linear in (wide.down, wide.up))
    assert 0.019 < largest <= 0.02  # of 8192 numbers, without the cut a few hundred would be larger
    shake(layer)
    h = layer.layer(x)
    z = h @ layer.down.weight.T + layer.down.bias
    z = z * (1 + torch.erf(z / math.sqrt(2))) / 2
    torch.testing.assert_close(layer(x), h + z @ layer.up.weight.T + layer.up.bias)


@torch.no_grad()
def test_where_adapters_are():
    """Behind the output of attention and of the feed-forward network, before the residual (figure 2 of the paper)."""
    torch.manual_seed(0)
    model = shake(add_adapters(GPT(GPT2).double(), 3))
    block = model.blocks[0]
    x = torch.randn(2, 6, 16, dtype=torch.float64)

    def adapted(h, layer):
        return h + layer.up(nn.functional.gelu(layer.down(h)))

    out, feed_forward = block.attention.out, block.feed_forward
    block.attention.out = nn.Identity()  # so that attention gives what its output layer reads
    mixed = block.attention(block.norm1(x), causal=True)
    block.attention.out = out
    y = x + adapted(out.layer(mixed), out)
    y = y + adapted(feed_forward.layer(block.norm2(y)), feed_forward)
    torch.testing.assert_close(block(x, causal=True), y)


def test_counts_are_the_closed_formulas():
    d, layers, n, width = 16, 2, 5, 3
    assert count(add_prefix(GPT(GPT2), n)) == layers * 2 * n * d
    assert count(add_prefix(GPT(LLAMA), n)) == layers * 2 * n * d // 2  # half as many heads for keys and values
    per_adapter = 2 * width * d + d + width  # section 2.1
    assert count(add_adapters(GPT(GPT2), width)) == layers * 2 * (per_adapter + 2 * d)  # with a norm's gain and bias
    assert count(add_adapters(GPT(LLAMA), width)) == layers * 2 * (per_adapter + d)
    t5, _ = models()["t5"]  # one layer a side, the decoder's with cross-attention; norms without bias
    assert count(add_adapters(t5, width)) == (2 + 3) * (per_adapter + d)
    # BitFit: 3 d for queries, keys and values, d out, 4 d up, d down, 2 d in norms; and d in the last norm.
    assert count(train_biases(GPT(GPT2))) == layers * 11 * d + d
    assert {name.rpartition(".")[2] for name in trainable_parameters(train_biases(GPT(GPT2)))} == {"bias"}
    only = GPTConfig(11, d_model=d, n_layers=layers, n_heads=4, norm="rms", bias=False, qkv_bias=True)
    assert count(train_biases(GPT(only))) == layers * 3 * d


SIZES = {"lora": {"rank": 2, "alpha": 2.0}, "prefix": {"n": 2}, "adapters": {"width": 3}, "bitfit": {}}
METHODS = {name: partial(method, **SIZES[name]) for name, method in families.METHODS.items()}
NO_METHODS = {"add_sparse", "train_ppo_grpo_dpo"}  # the control, which test_sparse.py has, and a comparison on rewards


def test_no_method_is_forgotten():
    files = Path(tune.__file__).parent.glob("*.py")
    defined = [getattr(node, "name", "") for file in files for node in ast.parse(file.read_text()).body]
    names = {name for name in defined if name.startswith(("add_", "train_"))}
    assert {method.__name__ for method in families.METHODS.values()} == names - NO_METHODS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, method):
    """Each takes every method (T5, Llama and experts have no biases); what it trains changes the outputs and learns."""
    model, inputs = models()[family]
    before = model(*inputs).detach()
    if method == "bitfit" and family in ("llama", "moe", "t5"):
        with pytest.raises(ValueError, match="has no biases, so BitFit has nothing to train"):
            train_biases(model)
        assert all(p.requires_grad for p in model.parameters())
        return
    METHODS[method](model)
    shake(model)
    after = model(*inputs)
    assert (after - before).abs().max() > 1e-3
    after.square().mean().backward()
    without = {name for name, p in trainable_parameters(model).items() if p.grad is None or p.grad.abs().max() == 0}
    unused = ("vision.norm.", "pooler.") if method == "bitfit" else ()  # LLaVA takes the features before that norm
    assert not [name for name in without if not name.startswith(unused)], without
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (partial(add_prefix, n=0), "a prefix of n=0 changes nothing"),
        (
            partial(add_prefix, n=2, prompt=torch.tensor([1, 2, 3])),
            "the prompt has 3 tokens, but the prefix is to have 2",
        ),
        (partial(add_adapters, width=0), "width=0 must be at least 1"),
    ],
)
def test_sizes_that_cannot_be(method, message):
    model = GPT(GPT2)
    with pytest.raises(ValueError, match=message):
        method(model)
    assert all(p.requires_grad for p in model.parameters())


def test_what_has_no_such_part_is_refused():
    linear = nn.Sequential(nn.Linear(2, 2, bias=False))
    for method, message in (
        (partial(add_prefix, n=2), "Sequential has no attention layer to put a prefix in"),
        (partial(add_adapters, width=2), "Sequential has no blocks to put adapters in"),
        (train_biases, "this Sequential has no biases"),
        (partial(add_lora, rank=1, alpha=1.0), 'no linear layer "q"'),
    ):
        with pytest.raises(ValueError, match=message):
            method(linear)
    bert, _ = models()["bert"]
    with pytest.raises(ValueError, match="a Bert does not read a prompt from left to right"):
        add_prefix(bert, 1, torch.tensor([1]))


@pytest.mark.parametrize("name", METHODS)
def test_weights_in_bfloat16_stay_so_and_what_is_added_is_float32(name):
    torch.manual_seed(0)
    exact = GPT(GPT2)
    half = copy.deepcopy(exact).bfloat16()
    own = {id(p) for p in half.parameters()}
    for model in (exact, half):
        METHODS[name](model)
        torch.manual_seed(1)
        shake(model, 0.1)
    assert half(IDS).dtype == torch.bfloat16
    assert (half(IDS) - exact(IDS)).abs().max() < 0.05 * exact(IDS).abs().max()  # eight bits, through two layers
    for key, p in half.named_parameters():
        assert p.dtype == (torch.bfloat16 if id(p) in own else torch.float32), key
    half(IDS).float().square().mean().backward()
    assert all(p.grad.dtype == p.dtype for p in trainable_parameters(half).values())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_model_is_refused_and_left_alone(name, bits):
    model = quantize(GPT(GPTConfig(11, context=8, d_model=32, n_layers=1, n_heads=2)), bits)
    with pytest.raises(ValueError, match="the model is quantized; tune it as it was before, and quantize it then"):
        METHODS[name](model)
    assert not hasattr(model, "tuning")
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("method", [partial(add_lora, rank=1, alpha=1.0), partial(add_sparse, n=100)])
def test_the_reason_is_right_although_the_layers_that_are_named_have_been_replaced(method):
    config = GPTConfig(11, context=8, d_model=32, n_layers=1, n_heads=2)
    with pytest.raises(ValueError, match="the model is quantized"):
        method(quantize(GPT(config)), target_modules="out")
    with pytest.raises(ValueError, match="is tuned by sparse already"):
        method(add_sparse(GPT(config), 100, "out"), target_modules="out")


@pytest.mark.parametrize("first", METHODS)
def test_one_method_at_a_time(first):
    model = METHODS[first](GPT(GPT2))
    for method in METHODS.values():
        for whole in (model, nn.ModuleDict({"part": model})):
            with pytest.raises(ValueError, match=f"the model is tuned by {first} already; start from the model as it"):
                method(whole)
    assert any(isinstance(part, Block) for part in model.modules())

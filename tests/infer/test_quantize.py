"""Weights in few bits: the error is within its bound, and products are those of the rounded weights."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.data.corpora.wikipedia import wikipedia_leads
from course_lib.infer.generation.generate import complete
from course_lib.infer.generation.sampling import GREEDY
from course_lib.infer.quantization import linear as linear_module
from course_lib.infer.quantization.linear import Int4Linear, Int8Linear
from course_lib.infer.quantization.quantize import quantize, weight_bytes
from course_lib.infer.quantization.rounding import dequantize, pack, quantize_groupwise, quantize_symmetric, unpack
from course_lib.interop import smollm2
from course_lib.models import GPT, GPTConfig

SMALL = {"vocab_size": 40, "context": 16, "d_model": 32, "n_layers": 2, "n_heads": 4}
LLAMA = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False, "n_kv_heads": 2, "d_ff": 96}
CONFIGS = [SMALL, SMALL | LLAMA, SMALL | LLAMA | {"tie_embeddings": False}]


def made(**settings):
    torch.manual_seed(0)
    return GPT(GPTConfig(**settings)).eval()


@st.composite
def weights(draw):
    """Normal ones, with outliers, far from zero, all zero or all alike, and of sizes where floats end."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(draw(st.integers(1, 5)), 32 * draw(st.integers(1, 3)))
    weight[0] += draw(st.sampled_from([0, 0, 3, -1e4, 1e6]))
    weight[:, 3] *= draw(st.sampled_from([0, 1, 50, 1e5]))
    weight[-1] *= draw(st.sampled_from([0, 1, 1e-3]))
    return weight * draw(st.sampled_from([1.0, 1e-40, 1e-30, 1e-3, 1e20]))


def errors(weight, rounded):
    """|weight - dequantize| in scales, exactly."""
    codes, scale, offset = rounded
    exact = codes.double().unflatten(1, (scale.shape[1], -1)) * scale.double()[..., None]
    exact += 0 if offset is None else offset.double()[..., None]
    return (weight.double().view_as(exact) - exact).abs() / scale.double()[..., None]


# Half a scale, and what float32 adds: a quotient of up to 127.25 is off by up to 127.25 * 2^-24 of a scale, and the
# difference to the offset before it, of up to 16 scales, by as little.
BOUND = 0.5 + 2**-16


@settings(max_examples=200, deadline=None)
@given(weights(), st.sampled_from([2, 3, 4, 8]), st.sampled_from([4, 16, 32]))
def test_no_weight_is_off_by_more_than_half_a_scale(weight, bits, group):
    for rounded in (quantize_symmetric(weight, bits), quantize_groupwise(weight, bits, group)):
        assert errors(weight, rounded).max() <= BOUND
        assert rounded.codes.min() >= -(2 ** (bits - 1))
        assert rounded.codes.max() <= 2 ** (bits - 1) - 1
        assert rounded.scale.isfinite().all()


def test_the_error_is_that_of_rounding_and_halves_with_every_bit():
    torch.manual_seed(0)
    weight = torch.randn(64, 256)
    off = {
        bits: (weight - dequantize(quantize_groupwise(weight, bits, 32))).square().mean().sqrt()
        for bits in (2, 3, 4, 5, 8)
    }
    for bits, error in off.items():
        # A number equally likely to lie anywhere between two codes is off by 1/sqrt(12) of their distance.
        scale = quantize_groupwise(weight, bits, 32).scale.float().square().mean().sqrt().item()
        assert error == pytest.approx(scale / math.sqrt(12), rel=0.1), bits
    for few, more in ((2, 3), (3, 4), (4, 5)):  # 2^b - 1 steps
        assert off[few] / off[more] == pytest.approx((2**more - 1) / (2**few - 1), rel=0.1)
    worst = errors(weight, quantize_groupwise(weight, 4, 32)).max()
    assert worst > 0.49  # the bound is reached
    assert (weight - dequantize(quantize_symmetric(weight))).abs().max() < weight.abs().max() / 127 / 2 * (1 + 2**-8)


def test_a_scale_for_each_group_serves_outliers():
    torch.manual_seed(0)
    weight = torch.randn(8, 128)
    weight[:, 0] *= 100
    off = [(weight - dequantize(quantize_groupwise(weight, 4, group)))[:, 32:].abs().mean() for group in (32, 128)]
    assert off[0] < off[1] / 5


def test_two_to_a_byte():
    codes = torch.arange(-8, 8, dtype=torch.int8).repeat(3, 2)
    packed = pack(codes)
    assert packed.numel() == codes.numel() / 2
    assert torch.equal(unpack(packed), codes)
    assert packed[0, 0] == (-8 + 8) | (-7 + 8) << 4


LAYERS = [
    lambda linear: Int8Linear(quantize_symmetric(linear.weight.data), linear.bias),
    lambda linear: Int4Linear(quantize_groupwise(linear.weight.data, 4, 16), linear.bias),  # a group without a kernel
    lambda linear: Int4Linear(quantize_groupwise(linear.weight.data, 4, 32), linear.bias),
    lambda linear: Int4Linear(quantize_groupwise(linear.weight.data, 4, 64), linear.bias),
]


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("n_out", [1, 17, 32, 80])  # the kernels take rows in fours and sixty-fours
@pytest.mark.parametrize("shape", [(1,), (3,), (33,), (2, 5), (0,)])
@torch.no_grad()
def test_a_layer_multiplies_by_the_rounded_weights(make, n_out, shape):
    torch.manual_seed(0)
    linear = nn.Linear(128, n_out)
    layer = make(linear)
    x = torch.randn(*shape, 257)[..., 1::2]  # with gaps, and not at a round address
    for dtype in (torch.float32, torch.bfloat16):
        y = layer(x.to(dtype))
        assert y.dtype == dtype
        exact = F.linear(x.to(dtype).double(), dequantize(layer.quantized_weight()).double(), linear.bias.double())
        # Rounding to bfloat16 is off by up to 2^-9: every x, then the sum, then (in bfloat16) the sum with the bias.
        # The last term is for adding up in float32.
        terms = F.linear(
            x.double().abs(), dequantize(layer.quantized_weight()).double().abs(), linear.bias.double().abs()
        )
        assert ((y.double() - exact).abs() <= terms * (3 * 2**-9 + 2**-15)).all()


@torch.no_grad()
def test_odd_numbers_of_inputs_are_multiplied_as_floats():
    """The kernel would read beyond the end of every row."""
    torch.manual_seed(0)
    linear = nn.Linear(20, 5)
    layer = LAYERS[0](linear)
    x = torch.randn(3, 20)
    assert torch.equal(layer(x), F.linear(x, dequantize(layer.quantized_weight()), linear.bias))


@pytest.mark.parametrize("make", LAYERS)
def test_gradients_pass_through(make):
    """As for vectors that are trained in front of a quantized model, such as those of pictures."""
    torch.manual_seed(0)
    layer = make(nn.Linear(128, 32))
    x = torch.randn(3, 128, requires_grad=True)
    layer(x).square().sum().backward()
    y = x.detach() @ dequantize(layer.quantized_weight()).t() + layer.bias
    assert torch.allclose(x.grad, 2 * y @ dequantize(layer.quantized_weight()), rtol=1e-4, atol=1e-3)


@torch.no_grad()
def floated(quantized, original):
    """The original with the rounded weights, so that nothing but the arithmetic differs."""
    model = copy.deepcopy(original)
    for name, layer in quantized.named_modules():
        if isinstance(layer, Int8Linear | Int4Linear) and name != "token_embedding.table":
            model.get_submodule(name).weight.copy_(dequantize(layer.quantized_weight()))
    model.token_embedding.weight.copy_(dequantize(quantized.token_embedding.table.quantized_weight()))
    return model


@pytest.mark.parametrize("settings", CONFIGS)
@pytest.mark.parametrize("bits", [8, 4])
@torch.no_grad()
def test_a_model_computes_with_the_rounded_weights(settings, bits):
    original = made(**settings)
    quantized = quantize(copy.deepcopy(original), bits)
    assert not any(isinstance(layer, nn.Linear) for layer in quantized.modules())
    ids = torch.randint(40, (2, 9))
    expected, found, before = floated(quantized, original)(ids), quantized(ids), original(ids)
    scale = expected.abs().max()
    assert (found - expected).abs().max() < 0.02 * scale  # bfloat16 on the way, layer after layer
    assert (found - before).abs().max() > (0.002 if bits == 8 else 0.02) * scale
    texts = complete(quantized, [[1, 2], [3]], 5)  # and with a cache
    assert [len(text) for text in texts] == [5, 5]


@pytest.mark.parametrize("settings", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@torch.no_grad()
def test_weights_of_any_dtype(settings, dtype):
    """Those of many published models are bfloat16: in few bits they are the same as if they had been float32 before."""
    original = made(**settings).to(dtype)
    expected = quantize(copy.deepcopy(original).float(), 4)
    found = quantize(original, 4)
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    ids = torch.randint(40, (2, 9))
    assert torch.equal(found(ids), expected(ids))
    assert complete(found, [[1, 2], [3]], 5, GREEDY) == complete(expected, [[1, 2], [3]], 5, GREEDY)


def test_memory():
    model = made(**SMALL | LLAMA)
    n = {name: p.numel() for name, p in model.named_parameters()}  # the tied head once
    linear = sum(size for name, size in n.items() if "norm" not in name and name != "token_embedding.weight")
    norms = sum(size for name, size in n.items() if "norm" in name)
    rows = sum(layer.out_features for layer in model.blocks.modules() if isinstance(layer, nn.Linear))
    assert weight_bytes(model) == 4 * sum(n.values())
    table = n["token_embedding.weight"] + 2 * 40
    assert weight_bytes(quantize(copy.deepcopy(model))) == table + linear + 2 * rows + 4 * norms
    assert weight_bytes(quantize(copy.deepcopy(model), 4)) == table + linear // 2 + 4 * linear // 32 + 4 * norms


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda model: None, {"bits": 3}, "bits=3 is not supported; use 8 or 4"),
        (lambda model: None, {"group": 32}, "8 bits have one scale a row; leave group out"),
        (lambda model: None, {"bits": 4, "group": 0}, "blocks.0.attention.qkv: group=0 does not divide 32 inputs"),
        (lambda model: None, {"bits": 4, "group": 24}, "blocks.0.attention.qkv: group=24 does not divide 32 inputs"),
        (
            lambda model: model.blocks[1].feed_forward.up.weight.data.fill_(math.inf),
            {},
            "blocks.1.feed_forward.up: a we",
        ),
        (lambda model: quantize(model), {}, "quantized already, or tuned by added layers; merge"),
        (lambda model: setattr(model, "tuning", {"method": "lora"}), {}, "quantized already, or tuned by added layers"),
    ],
)
def test_what_is_refused_leaves_the_model_as_it_was(change, options, sentence):
    model = made(**SMALL)
    change(model)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        quantize(model, **options)
    assert before.keys() == model.state_dict().keys()


def test_other_models_are_refused():
    class Wider(GPT):
        pass

    with pytest.raises(ValueError, match="a Wider cannot be quantized; pass a GPT without experts"):
        quantize(Wider(GPTConfig(**SMALL)))
    with pytest.raises(ValueError, match="a GPT with experts cannot be quantized"):
        quantize(made(**SMALL | LLAMA | {"n_experts": 4}))


@torch.no_grad()
def test_smollm2_loses_nothing_to_speak_of(monkeypatch):
    """On texts of Wikipedia, in nats a token; two bits are the control."""
    original, tokenizer = smollm2()
    texts = [article.extract for article in wikipedia_leads("en") if len(article.extract) > 1000][::35][:6]
    rows = torch.tensor([tokenizer.encode(text).ids[:129] for text in texts])

    def loss(model, rows=rows):
        logits = torch.cat([model(row[None, :-1]) for row in rows])
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).item()

    full = loss(original)
    assert 2 < full < 4
    quantized = quantize(copy.deepcopy(original))
    assert weight_bytes(quantized) < 0.2511 * weight_bytes(original)
    assert abs(loss(quantized) - full) < 0.01
    many = quantized(rows[:1, :33])
    monkeypatch.setattr(
        linear_module, "MAX_KERNEL_ROWS", 33
    )  # by the kernel, as single tokens are: the same sums in another order
    assert (quantized(rows[:1, :33]) - many).abs().mean() < 0.02 * many.abs().mean()
    two = copy.deepcopy(original)
    for layer in two.blocks.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.copy_(dequantize(quantize_groupwise(layer.weight, 2, 32)))
    assert loss(two, rows[:1]) > loss(original, rows[:1]) + 1

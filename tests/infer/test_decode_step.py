"""The fast form of a decode step gives the bits of the plain form, and is only taken where it does."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cache import assert_close, configs, made

from course_lib.infer.generation import decode_step
from course_lib.infer.generation.cached_decoder import CachedDecoder, left_pad
from course_lib.infer.generation.generate import complete
from course_lib.infer.generation.sampling import GREEDY, Sampling
from course_lib.infer.quantization.quantize import quantize
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES, LLAMA_STYLE
from course_lib.nn.attention import attention
from course_lib.nn.embed import embed_tokens
from course_lib.tune.adapters import add_adapters
from course_lib.tune.lora import add_lora
from course_lib.tune.prefix import add_prefix

SMALL = {"vocab_size": 16, "context": 16, "d_model": 64, "n_layers": 2, "n_heads": 4}


@torch.inference_mode()
def logits(model, prompts, n, fast):
    """The logits of n greedy steps, by the fast form or the plain one: Float "batch n vocab"."""
    ids, positions, mask = left_pad(prompts, n, 0, torch.device("cpu"))
    reader = CachedDecoder(model, positions, mask)
    reader.decode_step = reader.decode_step if fast else None
    found = [reader.next_logits(embed_tokens(model.token_embedding, ids))]
    for _ in range(n - 1):
        ids = found[-1].argmax(dim=-1)
        found.append(reader.next_logits(embed_tokens(model.token_embedding, ids)))
    assert reader.cache.length == positions.shape[1] - 1
    return torch.cat(found, dim=1)


@torch.inference_mode()
def fast_form(model):
    """The fast form of a model's step, or None."""
    return CachedDecoder(model, torch.arange(4)[None]).decode_step


def check_bits(model, prompts=([1, 2, 3], [4], [5, 6]), n=6):
    assert fast_form(model) is not None
    for texts in (prompts, prompts[:1]):  # with padding, and without
        assert torch.equal(logits(model, texts, n, fast=True), logits(model, texts, n, fast=False))


@settings(max_examples=60, deadline=None)
@given(configs, st.integers(0, 2**31))
def test_the_same_bits(config, seed):
    check_bits(made(config, seed), ([1, 2, 3], [4], [5, 6]))


@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_every_activation(activation):
    check_bits(made(GPTConfig(**SMALL, activation=activation, bias=activation != "swiglu")))


def lora(model):
    add_lora(model, rank=2, alpha=4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)


@pytest.mark.parametrize("style", [{}, LLAMA_STYLE], ids=["gpt2", "llama"])
@pytest.mark.parametrize(
    "change",
    [lora, lambda model: add_adapters(model, 4), lambda model: quantize(model, 8), lambda model: quantize(model, 4)],
    ids=["lora", "adapters", "int8", "int4"],
)
def test_layers_that_are_not_plain_are_called_as_they_are(style, change):
    model = made(GPTConfig(**SMALL, **style))
    before = logits(model, [[1, 2]], 3, fast=True)
    change(model)
    check_bits(model)
    assert not torch.equal(logits(model, [[1, 2]], 3, fast=True), before)


def own_attend(model):
    model.blocks[1].attention.attend = lambda *given: attention(*given)


def own_rotate(model):
    model.blocks[1].attention.rotate = lambda x, cos, sin: x


def own_forward(model):
    model.blocks[0].forward = model.blocks[0].forward


def another_class(model):
    model.blocks[1].attention.__class__ = type("Mine", (type(model.blocks[1].attention),), {})


def fewer_heads(model):
    model.blocks[1].attention.n_heads = 2


@pytest.mark.parametrize(
    "change",
    [
        own_attend,
        own_rotate,
        own_forward,
        another_class,
        fewer_heads,
        lambda model: add_prefix(model, 2),
        lambda model: model.blocks[0].register_forward_hook(lambda *given: None),
        lambda model: model.blocks[0].attention.register_forward_pre_hook(lambda *given: None),
        lambda model: model.blocks[0].compile(backend="eager"),
        lambda model: model.blocks[0].half(),
    ],
)
def test_what_is_not_known_to_be_equal_takes_the_plain_form(change):
    model = made(GPTConfig(**SMALL, position="rope"))
    assert fast_form(model) is not None
    change(model)
    assert fast_form(model) is None


def test_nothing_that_watches_or_changes_all_modules_is_passed_by():
    model = made(GPTConfig(**SMALL))
    watch = torch.nn.modules.module.register_module_forward_hook(lambda *given: None)
    assert fast_form(model) is None
    watch.remove()
    with torch.autocast("cpu", torch.bfloat16):
        assert fast_form(model) is None
    with torch.inference_mode(False):
        assert CachedDecoder(model, torch.arange(4)[None]).decode_step is None
    assert fast_form(model) is not None


def test_a_hook_on_a_layer_is_still_called():
    model = made(GPTConfig(**SMALL))
    calls = []
    model.blocks[0].feed_forward.up.register_forward_hook(lambda *given: calls.append(given))
    assert fast_form(model) is not None
    complete(model, [[1, 2]], 5, GREEDY)
    assert len(calls) == 5


@pytest.mark.parametrize("style", [{}, LLAMA_STYLE], ids=["gpt2", "llama"])
@pytest.mark.parametrize("rows", [1, 3])
def test_weights_in_another_order_change_sums_by_their_rounding_alone(style, rows, monkeypatch):
    model = made(GPTConfig(**SMALL, **style))
    prompts = [[1, 2, 3], [4, 5, 6], [7, 8, 9]][:rows]
    plain = logits(model, prompts, 6, fast=False)
    draws = [complete(model, prompts, 6, Sampling(), generator=torch.Generator().manual_seed(0))]
    monkeypatch.setattr(decode_step, "REORDERED_TOKENS", 1)
    monkeypatch.setattr(decode_step, "REORDERED_WEIGHTS", range(1, 1 << 26))
    found = logits(model, prompts, 6, fast=True)
    assert not torch.equal(found, plain)
    assert_close(found, plain)
    assert torch.equal(found.argmax(dim=-1), plain.argmax(dim=-1))
    draws.append(complete(model, prompts, 6, Sampling(), generator=torch.Generator().manual_seed(0)))
    assert draws[0] == draws[1]


def test_weights_are_put_in_another_order_for_long_texts_of_models_of_some_size():
    large = GPT(GPTConfig(vocab_size=1 << 13, d_model=128, n_layers=1))
    small = GPT(GPTConfig(vocab_size=1 << 10, d_model=128, n_layers=1))
    assert decode_step._reordering_pays(large, 128)
    assert not decode_step._reordering_pays(large, 127)
    assert not decode_step._reordering_pays(copy.deepcopy(large).bfloat16(), 128)
    assert not decode_step._reordering_pays(small, 128)

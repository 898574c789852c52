"""The decode kernel gives the numbers of the plain way, and is not used where something was changed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cache import assert_close, configs, made
from torch import nn

from course_lib.infer.generation.kernels import DecodeStep, supports
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES
from course_lib.nn.block import Block
from course_lib.nn.cache import KVCache


@settings(max_examples=80, deadline=None)
@given(configs, st.integers(0, 2**31), st.integers(1, 6), st.lists(st.integers(0, 5), min_size=1, max_size=3))
@torch.no_grad()
def test_the_numbers_of_the_plain_way(config, seed, n, padding):
    model = made(config, seed)
    assert supports(model)
    padding = torch.tensor([[min(size, n - 1)] for size in padding])
    columns = torch.arange(n + 4)
    ids, positions = torch.randint(11, (len(padding), n + 4)), (columns - padding).clamp(min=0)
    mask = (columns >= padding)[:, None, None] if padding.any() else None
    long, short = (KVCache(config, len(padding), n + 4) for _ in range(2))
    for cache in (long, short):
        model(ids[:, :n], None if mask is None else mask[..., :n], positions=positions[:, :n], cache=cache)
    step = DecodeStep(model, short)
    for start in range(n, n + 4):
        end = start + 1
        x, keys = model.tokens(ids[:, start:end]), None if mask is None else mask[..., :end]
        expected, _ = model.hidden_states(x, keys, positions=positions[:, start:end], cache=long)
        assert_close(step(x, keys, positions[:, start:end]), expected)
    assert short.length == n + 4
    real = columns >= padding
    for found, expected in ((short.keys, long.keys), (short.values, long.values)):
        assert_close(found.movedim(3, 2)[:, real], expected.movedim(3, 2)[:, real])


@pytest.mark.parametrize("position", CHOICES["position"])
def test_every_position_encoding_is_computed_rightly_or_not_at_all(position):
    model = made(GPTConfig(11, d_model=8, n_layers=2, n_heads=2, position=position))
    ids = torch.randint(11, (2, 5))
    assert not supports(model) or (last(model, ids, short=True) - last(model, ids, short=False)).abs().max() < 1e-4


def test_an_encoding_that_it_does_not_know_takes_the_plain_way():
    model = made(GPTConfig(11, d_model=8, n_layers=2, n_heads=2))
    object.__setattr__(model.config, "position", "one of the future")
    assert not supports(model)


class Another(Block):
    pass


def halved(x):
    return x / 2


CHANGES = {
    "a function for attention": lambda model: setattr(model.blocks[1].attention, "attend", lambda q, k, v, mask: v),
    "a function that rotates": lambda model: setattr(model.blocks[1].attention, "rotate", lambda x, cos, sin: x),
    "norms behind the branches": lambda model: setattr(model.blocks[0], "post_norm", True),
    "another scale": lambda model: setattr(model.blocks[1].attention, "scale", 1.0),
    "a hook on a block": lambda model: model.blocks[0].register_forward_hook(lambda module, args, x: halved(x)),
    "a hook before attention": lambda model: model.blocks[0].attention.register_forward_pre_hook(
        lambda module, args: (halved(args[0]),)
    ),
    "a forward": lambda model: setattr(model.blocks[0], "forward", lambda x, **options: halved(x)),
    "a parameter": lambda model: model.blocks[0].attention.register_parameter("more", nn.Parameter(torch.ones(1))),
    "a module": lambda model: model.blocks[0].add_module("more", nn.Identity()),
    "a wrapped layer": lambda model: model.blocks.__setitem__(0, nn.Sequential(model.blocks[0])),
    "another class": lambda model: setattr(model.blocks[0], "__class__", Another),
    "another model": lambda model: setattr(model, "__class__", type("GPT", (GPT,), {})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_takes_the_plain_way(change):
    model = made(GPTConfig(11, d_model=8, n_layers=2, n_heads=2, position="rope"))
    assert supports(model)
    CHANGES[change](model)
    assert not supports(model)


@torch.no_grad()
def last(model, ids, short):
    """What is read of the last token, either way."""
    cache = KVCache(model.config, *ids.shape)
    model(ids[:, :-1], cache=cache)
    x = model.tokens(ids[:, -1:])
    return DecodeStep(model, cache)(x) if short else model.hidden_states(x, cache=cache)[0]


@pytest.mark.parametrize(
    "name", ["norm1", "attention.qkv", "attention.out", "norm2", "feed_forward", "feed_forward.up"]
)
def test_what_is_inside_a_layer_may_be_anything(name):
    model = made(GPTConfig(11, d_model=8, n_layers=2, n_heads=2, position="rope"))
    ids = torch.randint(11, (2, 5))
    before = last(model, ids, short=True)
    block = model.blocks[1]
    block.set_submodule(name, nn.Sequential(block.get_submodule(name), nn.Hardtanh(-0.1, 0.1)))
    block.get_submodule(name).register_forward_hook(lambda module, args, x: 2 * x)
    assert supports(model)
    assert_close(last(model, ids, short=True), last(model, ids, short=False))
    assert (last(model, ids, short=True) - before).abs().max() > 0.01

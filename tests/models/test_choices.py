"""Settings of all configs: choices that a model forgot are refused by name, and derived ones are numbers.

A choice that is added to a config and forgotten in its model is never taken for another.
"""

import json
from dataclasses import asdict, fields, is_dataclass, replace

import pytest
import torch

from course_lib.models import (
    GPT,
    T5,
    VLM,
    Bert,
    BertConfig,
    GPTConfig,
    T5Config,
    ViT,
    ViTConfig,
    VLMConfig,
    bert,
    gpt,
    t5,
    vit,
    vlm,
)
from course_lib.nn.feed_forward import FeedForward
from course_lib.settings import DERIVED, from_stored

SIZES = {"d_model": 8, "n_layers": 1, "n_heads": 2}
VISION, TEXT = ViTConfig(4, 2, **SIZES), GPTConfig(9, **SIZES)
IDS, IMAGES = torch.tensor([[1, 2, 3, 4]]), torch.randn(1, 3, 4, 4)
FAMILIES = {
    "GPT": (gpt.CHOICES, TEXT, lambda config: GPT(config)(IDS)),
    "BERT": (bert.CHOICES, BertConfig(9, **SIZES), lambda config: Bert(config)(IDS)),
    "T5": (t5.CHOICES, T5Config(9, **SIZES), lambda config: T5(config)(IDS, IDS)),
    "ViT": (vit.CHOICES, VISION, lambda config: ViT(config)(IMAGES)),
    "VLM": (vlm.CHOICES, VLMConfig(VISION, TEXT, 8), lambda config: VLM(config).encode_images(IMAGES)),
}


@pytest.mark.parametrize(("family", "setting"), [(family, name) for family in FAMILIES for name in FAMILIES[family][0]])
def test_a_choice_that_was_forgotten_is_refused_by_name(family, setting):
    _, config, run = FAMILIES[family]
    run(config)
    changed = type(config)(**vars(config))
    object.__setattr__(changed, setting, "one of the future")
    with pytest.raises((AssertionError, KeyError, ValueError), match="one of the future"):
        run(changed)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_derived_setting_is_a_number_and_a_stored_none_means_derived(family):
    config = FAMILIES[family][1]
    derived = [field.name for field in fields(config) if field.default is DERIVED and field.type in (int, bool)]
    assert derived
    assert all(isinstance(getattr(config, name), int) for name in derived)
    stored = json.loads(json.dumps({**asdict(config), **dict.fromkeys(derived)}))
    nested = {name: value for name, value in vars(config).items() if is_dataclass(value)}
    assert from_stored(type(config), stored | nested) == config
    assert replace(config) == config
    assert hash(replace(config)) == hash(config)
    with pytest.raises(TypeError, match="unknown"):
        from_stored(type(config), {**stored, "unknown": None})


def test_a_derived_setting_follows_the_others():
    wider = {**asdict(TEXT), "d_model": 16}
    assert from_stored(GPTConfig, wider).d_ff == 32  # what was derived once is kept
    wider = from_stored(GPTConfig, {**wider, "head_dim": DERIVED, "d_ff": DERIVED})
    assert (wider.head_dim, wider.d_ff) == (8, 64)
    assert GPTConfig(9, bias=False).qkv_bias is False
    assert T5Config(9, n_layers=3).n_decoder_layers == 3
    assert ViTConfig(pre_norm=True).patch_bias is False


def test_a_network_without_outputs_is_refused():
    with pytest.raises(ValueError, match="d_out=0 must be at least 1, or None for d_model"):
        FeedForward(8, 16, d_out=0)

"""A choice that is added to a config and forgotten in its model is refused by name, never taken for another."""

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

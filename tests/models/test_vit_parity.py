"""Our ViT gives the logits, hidden states and attention of transformers and of timm, on random small models."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, made, quick, seeds
from transformers import CLIPVisionConfig, CLIPVisionModel, ViTConfig, ViTForImageClassification, ViTModel

from course_lib.errors import ModelError
from course_lib.interop import from_hf, from_pretrained, to_hf
from course_lib.models import ViT
from course_lib.models import ViTConfig as OurConfig

sizes = {
    "hidden_size": st.integers(1, 6),  # of a head, before `whole`
    "num_attention_heads": st.integers(1, 4),
    "num_hidden_layers": st.integers(1, 3),
    "intermediate_size": st.integers(1, 24),
    "image_size": st.integers(4, 12),
    "patch_size": st.integers(1, 4),
    "num_channels": st.integers(1, 4),
    "hidden_act": st.sampled_from(["gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu"]),
    "layer_norm_eps": st.sampled_from([1e-12, 1e-5, 1e-2]),
}


def whole(settings):
    return settings | {"hidden_size": settings["hidden_size"] * settings["num_attention_heads"]}


vit = st.fixed_dictionaries(sizes | {"num_labels": st.integers(0, 4), "qkv_bias": st.booleans()}).map(whole)
clip_vision = st.fixed_dictionaries(sizes).map(whole)
TINY = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 6, "image_size": 6,
        "patch_size": 2}  # fmt: skip


def images(config, n=2):
    height, width = config.image_size if isinstance(config.image_size, list) else [config.image_size] * 2
    return torch.randn(n, config.num_channels, height, width)


def assert_close(ours, expected):
    # Relative to the largest: sums of up to 200 float32 products in another order stay well below 1e-5.
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


@torch.no_grad()
def assert_same(ours, theirs, output):
    x = images(theirs.config)
    result = theirs(x, output_hidden_states=True)
    for logits in (ours(x), ours(x, return_weights=True)[0]):
        assert_close(logits, result[output])
    n = theirs.config.num_hidden_layers
    assert len(result.hidden_states) == n + 1
    for layer, hidden in enumerate(result.hidden_states):
        assert_close(ours.features(x, layer), hidden)
        assert_close(ours.features(x, layer - n - 1), hidden)


@quick
@given(vit, seeds)
def test_vit(settings, seed):
    theirs = made(ViTForImageClassification, ViTConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, "logits")
    assert_same(ours, back, "logits")


@quick
@given(clip_vision, seeds)
def test_clip_vision(settings, seed):
    theirs = made(CLIPVisionModel, CLIPVisionConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, "pooler_output")
    assert_same(ours, back, "pooler_output")


@pytest.mark.parametrize(
    ("kind", "config"), [(ViTForImageClassification, ViTConfig), (CLIPVisionModel, CLIPVisionConfig)]
)
def test_attention(kind, config, tmp_path):
    theirs = made(kind, config(**TINY, attn_implementation="eager"), 0)
    theirs.save_pretrained(tmp_path)
    x = images(theirs.config)
    _, weights = from_pretrained(tmp_path)(x, return_weights=True)
    expected = theirs(x, output_attentions=True).attentions
    assert len(weights) == len(expected) == 2
    for ours, other in zip(weights, expected, strict=True):
        assert_close(ours, other)


def test_gradients(tmp_path):
    theirs = made(ViTForImageClassification, ViTConfig(**TINY, num_labels=3), 0)
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path)
    x = images(theirs.config, 5)
    target = torch.tensor([0, 1, 2, 0, 1])
    for logits in (ours(x), theirs(x).logits):
        torch.nn.functional.cross_entropy(logits, target).backward()
    to_hf(_with_gradients_as_weights(ours), tmp_path)
    of_ours = ViTForImageClassification.from_pretrained(tmp_path)
    largest = max(parameter.grad.abs().max() for parameter in theirs.parameters())
    for (name, expected), (_, gradient) in zip(theirs.named_parameters(), of_ours.named_parameters(), strict=True):
        # Relative to the largest of all: that of the keys' bias is 0, but for rounding.
        assert (gradient - expected.grad).abs().max() <= 1e-5 * largest, name


def _with_gradients_as_weights(model):
    for parameter in model.parameters():
        parameter.data = parameter.grad
    return model


# Every setting of the config classes of transformers, changed: it counts for us as it does for them, or is refused.
BOTH = {
    "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 5, "hidden_act": "relu",
    "initializer_range": 0.5, "layer_norm_eps": 0.1, "image_size": 8, "patch_size": 3, "num_channels": 1,
}  # fmt: skip
CHANGES = {
    ViTConfig: BOTH | {
        "hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5, "qkv_bias": False, "encoder_stride": 2,
        "pooler_output_size": 3, "pooler_act": "relu", "num_labels": 7, "image_size": [8, 8], "patch_size": (3, 3),
    },
    CLIPVisionConfig: BOTH | {"attention_dropout": 0.5, "initializer_factor": 2.0, "projection_dim": 3},
}  # fmt: skip
KINDS = {ViTConfig: (ViTForImageClassification, "logits"), CLIPVisionConfig: (CLIPVisionModel, "pooler_output")}


@pytest.mark.parametrize("config", CHANGES)
def test_every_setting_counts_as_theirs(config, tmp_path):
    assert set(config.__annotations__) - {"model_type", "base_config_key"} <= CHANGES[config].keys()
    kind, output = KINDS[config]
    for name, value in CHANGES[config].items():
        theirs = made(kind, config(**TINY | {name: value}), 0)
        theirs.save_pretrained(tmp_path / name)
        assert_same(from_pretrained(tmp_path / name), theirs, output)


@pytest.mark.parametrize(
    ("config", "change", "name"),
    [
        (ViTConfig, {"hidden_act": "mish"}, "hidden_act='mish'"),
        (ViTConfig, {"head_dim": 2}, "head_dim=2"),
        (ViTConfig, {"image_size": [6, 8]}, r"image_size=\[6, 8\] is not supported; it must be square"),
        (CLIPVisionConfig, {"patch_size": [2, 3]}, r"patch_size=\[2, 3\] is not supported; it must be square"),
        (ViTConfig, {"patch_size": 7}, "patches of 7 pixels do not fit in images of 6"),
        (ViTConfig, {"id2label": {"0": "cat"}}, r"classifier.weight has the shape \(2, 8\), not \(1, 8\)"),
        (ViTConfig, {"a_setting_of_next_year": 3}, "a_setting_of_next_year=3"),
        (CLIPVisionConfig, {"hidden_act": "gelu_fast"}, "hidden_act='gelu_fast'"),
        (CLIPVisionConfig, {"attention_bias": True}, "attention_bias=True"),
        (CLIPVisionConfig, {"num_hidden_layers": 0}, "n_layers=0 must be a whole number, at least 1"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(config, change, name, tmp_path):
    made(KINDS[config][0], config(**TINY), 0).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=name):
        from_pretrained(tmp_path)


def test_files_as_other_versions_write_them(tmp_path):
    theirs = made(CLIPVisionModel, CLIPVisionConfig(**TINY), 0)
    state = {f"vision_model.{name}": tensor for name, tensor in theirs.state_dict().items()}
    state["vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    config = theirs.config.to_dict() | {"vocab_size": 32000}  # which LLaVA's files have here
    assert_same(from_hf(config, state), theirs, "pooler_output")


def test_a_model_with_the_pooler_is_refused_by_the_name_of_its_tensors(tmp_path):
    ViTModel(ViTConfig(**TINY)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"classifier.weight is missing; .*vit.pooler.dense.weight is left over"):
        from_pretrained(tmp_path)


def test_what_transformers_cannot_hold_is_said(tmp_path):
    for change, name in (({"pool": "mean"}, "pool='mean'"), ({"class_token": False, "pool": "mean"}, "class_token")):
        with pytest.raises(ModelError, match=f"vit cannot hold this model: it has no {name}"):
            to_hf(ViT(OurConfig(6, 2, **change)), tmp_path)
    with pytest.raises(ModelError, match="clip_vision_model cannot hold this model: it has no n_classes=3"):
        to_hf(ViT(OurConfig(6, 2, n_classes=3, pre_norm=True)), tmp_path)

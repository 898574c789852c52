"""CLIP gives the vectors and logits of transformers on random small models, and learns what belongs together."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, made, quick, seeds
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

from course_lib.errors import ModelError
from course_lib.interop import from_hf, from_pretrained, save_pretrained, to_hf
from course_lib.models import CLIP, GPTConfig, ViTConfig
from course_lib.models import CLIPConfig as OurConfig
from course_lib.nn.attention import padding_mask
from course_lib.train import TrainConfig, train
from course_lib.train.losses import contrastive_loss

tower = st.builds(
    lambda head, heads, **rest: {"hidden_size": head * heads, "num_attention_heads": heads, **rest},
    head=st.integers(1, 6),
    heads=st.integers(1, 4),
    num_hidden_layers=st.integers(1, 3),
    intermediate_size=st.integers(1, 24),
    hidden_act=st.sampled_from(["gelu", "gelu_new", "quick_gelu", "relu", "silu"]),
    layer_norm_eps=st.sampled_from([1e-5, 1e-2]),
)
vision = st.builds(
    lambda shape, **rest: shape | rest,
    tower,
    image_size=st.integers(4, 9),
    patch_size=st.integers(1, 4),
    num_channels=st.integers(1, 4),
)
text = st.builds(
    lambda shape, vocab, end, **rest: (
        shape | rest | {"vocab_size": vocab, "eos_token_id": end if end == 2 else vocab - 1}
    ),
    tower,
    vocab=st.integers(4, 40),
    end=st.sampled_from([2, None]),
    max_position_embeddings=st.just(16),
    bos_token_id=st.just(0),
    pad_token_id=st.just(0),
)
clip = st.builds(
    lambda vision, text, shared, scale: {
        "vision_config": vision, "text_config": text, "projection_dim": shared, "logit_scale_init_value": scale
    },
    vision, text, st.integers(1, 8), st.sampled_from([0.0, 2.6592, 6.0]),
)  # fmt: skip

SIZES = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 6}
VISION = SIZES | {"image_size": 6, "patch_size": 2}
TEXT = SIZES | {
    "vocab_size": 11, "max_position_embeddings": 7, "eos_token_id": 10, "bos_token_id": 0, "pad_token_id": 0
}  # fmt: skip


def tiny(text=(), vision=(), **rest):
    config = CLIPConfig(text_config=TEXT | dict(text), vision_config=VISION | dict(vision), projection_dim=5, **rest)
    return made(CLIPModel, config, 0)


def batch(config, lengths, side="right"):
    """Pictures, texts padded with 0 that end in the end token, and where they are real."""
    n, end, vocab = max(lengths), config.text_config.eos_token_id, config.text_config.vocab_size
    end = vocab - 1 if end == 2 else end
    ids = torch.randint(1, end, (len(lengths), n))
    place = torch.arange(n)
    real = torch.stack([place < k if side == "right" else place >= n - k for k in lengths])
    ids[~real] = 0
    for row, k in enumerate(lengths):
        ids[row, k - 1 if side == "right" else n - 1] = end
    size = config.vision_config.image_size
    return torch.randn(3, config.vision_config.num_channels, size, size), ids, real


def assert_close(ours, expected, tolerance=1e-5):
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1)


@torch.no_grad()
def assert_same(ours, theirs, lengths=(3, 5, 1), side="right"):
    images, ids, real = batch(theirs.config, lengths, side)
    result = theirs(pixel_values=images, input_ids=ids, attention_mask=real.long())
    # Of sums of up to 200 float32 products. Dividing by a length that is far below that of the summands costs more, so
    # what is compared is what the towers and the linear layers on top make of them.
    vector = theirs.get_image_features(images).pooler_output
    assert_close(ours.image_features(images) * vector.norm(dim=-1, keepdim=True), vector)
    mask = real[:, None, None]
    vector = theirs.get_text_features(ids, real.long()).pooler_output
    assert_close(ours.text_features(ids, mask) * vector.norm(dim=-1, keepdim=True), vector)
    assert_close(ours(images, ids, mask), result.logits_per_image, 1e-4)


@quick
@given(clip, seeds, st.lists(st.integers(1, 16), min_size=1, max_size=3), st.sampled_from(["left", "right"]))
def test_clip(settings, seed, lengths, side):
    theirs = made(CLIPModel, CLIPConfig(**settings), seed)
    theirs.logit_scale.data.fill_(settings["logit_scale_init_value"])
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, lengths, side)
    assert_same(ours, back, lengths, side)


@pytest.mark.parametrize("end", [2, 10])
@torch.no_grad()
def test_where_a_text_ends(end, tmp_path):
    """The first end token, or in old files the first of the highest id; what comes after it changes nothing."""
    theirs = tiny({"eos_token_id": end})
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path)
    assert ours.config.end_token == (None if end == 2 else 10)
    ids = torch.tensor([[3, 10, 4, 10, 1], [3, 2, 10, 2, 9], [10, 1, 1, 1, 1]])
    images = torch.randn(1, 3, 6, 6)
    assert_close(ours(images, ids), theirs(ids, images).logits_per_image)
    alone = [ours.text_features(ids[i : i + 1, :n])[0] for i, n in enumerate([2, 3, 1])]
    assert_close(torch.stack(alone), ours.text_features(ids))
    assert_close(ours.text_features(ids, padding_mask(torch.tensor([2, 3, 1]), 5)), ours.text_features(ids))


def test_gradients_of_the_loss(tmp_path):
    theirs = tiny()
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path)
    images, ids, _ = batch(theirs.config, [3, 5, 2])
    loss = contrastive_loss(ours, (images, ids))
    loss.backward()
    expected = theirs(ids, images, return_loss=True).loss
    expected.backward()
    assert_close(loss, expected)
    for parameter in ours.parameters():
        parameter.data = parameter.grad
    to_hf(ours, tmp_path)
    of_ours = dict(CLIPModel.from_pretrained(tmp_path).named_parameters())
    largest = max(parameter.grad.abs().max() for parameter in theirs.parameters())
    for name, parameter in theirs.named_parameters():
        # Relative to the largest of all: that of the keys' bias is 0, but for rounding.
        assert (of_ours[name] - parameter.grad).abs().max() <= 1e-5 * largest, name


# The settings of CLIPConfig and CLIPTextConfig, changed; those of the vision tower are in test_vit_parity.py.
TOP = {"projection_dim": 3, "logit_scale_init_value": 1.0, "initializer_factor": 2.0}
OF_TEXT = {
    "vocab_size": 14, "hidden_size": 12, "intermediate_size": 5, "projection_dim": 3, "num_hidden_layers": 1,
    "num_attention_heads": 4, "max_position_embeddings": 9, "hidden_act": "relu", "layer_norm_eps": 0.1,
    "attention_dropout": 0.5, "initializer_range": 0.5, "initializer_factor": 2.0, "pad_token_id": 3, "bos_token_id": 3,
    "eos_token_id": 2,
}  # fmt: skip


def test_every_setting_counts_as_theirs(tmp_path):
    assert CLIPConfig.__annotations__.keys() - {"model_type", "sub_configs_defaults"} == TOP.keys() | {
        "text_config",
        "vision_config",
    }
    assert CLIPTextConfig.__annotations__.keys() - {"model_type", "base_config_key"} == OF_TEXT.keys()
    for place, changes in ((None, TOP), ("text_config", OF_TEXT)):
        for name, value in changes.items():
            config = {"text_config": TEXT, "vision_config": VISION, "projection_dim": 5}
            if place:
                config[place] = config[place] | {name: value}
            else:
                config[name] = value
            theirs = made(CLIPModel, CLIPConfig(**config), 0)
            theirs.save_pretrained(tmp_path)
            assert_same(from_pretrained(tmp_path), theirs)


@pytest.mark.parametrize(
    ("place", "change", "match"),
    [
        ("text_config", {"hidden_act": "mish"}, "hidden_act='mish' is not supported"),
        ("text_config", {"eos_token_id": [9, 10]}, r"eos_token_id=\[9, 10\] is not supported"),
        ("text_config", {"eos_token_id": 11}, "end_token=11 is not in the vocabulary of 11"),
        ("text_config", {"is_decoder": True}, "is_decoder=True"),
        ("vision_config", {"hidden_act": "mish"}, "hidden_act='mish'"),
        ("vision_config", {"use_head": True}, "use_head=True"),
        (None, {"vision_use_head": True}, "vision_use_head=True"),
        (None, {"projection_dim": 0}, "projection_dim=0 must be a whole number, at least 1"),
        (None, {"projection_dim": 4}, r"visual_projection.weight has the shape \(5, 8\), not \(4, 8\)"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(place, change, match, tmp_path):
    tiny().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    hf = json.loads(file.read_text())
    (hf[place] if place else hf).update(change)
    file.write_text(json.dumps(hf))
    with pytest.raises(ModelError, match=match):
        from_pretrained(tmp_path)


def test_old_files(tmp_path):
    """Generation settings in towers that generate nothing, counted positions, and a second version that counts."""
    theirs = tiny()
    hf, state = theirs.config.to_dict(), dict(theirs.state_dict())
    old = {"top_k": 50, "temperature": 1.0, "max_length": 20, "num_beams": 1, "tie_word_embeddings": True}
    for part in ("text", "vision"):
        hf[f"{part}_config"] |= old
        state[f"{part}_model.embeddings.position_ids"] = torch.arange(7)[None]
    assert_same(from_hf(hf, state), theirs)
    second = {"text_config": hf["text_config"] | {"hidden_size": 99}, "text_config_dict": TEXT}
    assert_same(from_hf(hf | second, state), theirs)
    (tmp_path / "config.json").write_text(json.dumps(hf | second | {"transformers_version": None}, default=str))
    assert CLIPConfig.from_pretrained(tmp_path).text_config.hidden_size == 8  # so do they


def test_the_defaults_are_the_published_model():
    assert from_hf_config({}) == from_hf_config(CLIPConfig(text_config={}, vision_config={}).to_dict())
    base = from_hf_config({})
    assert (base.text.d_model, base.text.vocab_size, base.vision.d_model, base.vision.patch_size) == (
        512,
        49408,
        768,
        32,
    )


def from_hf_config(hf):
    from course_lib.interop.hf.clip import CLIP as FAMILY

    return FAMILY.read(hf)


VIT = ViTConfig(8, 4, d_model=12, n_layers=1, n_heads=2)
GPT = GPTConfig(20, 6, 12, 1, 2)


@pytest.mark.parametrize(
    "config",
    [
        OurConfig(VIT, GPT, 4),
        OurConfig(ViTConfig(8, 4, d_model=12, n_heads=2, pool="mean", class_token=False), GPT, 4, end_token=19),
        OurConfig(VIT, GPTConfig(20, 6, 12, 1, 2, position="rope", norm="rms", activation="swiglu", bias=False), 4),
    ],
)
def test_any_clip_can_be_saved(config, tmp_path):
    torch.manual_seed(0)
    model = CLIP(config).eval()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == config
    ids = torch.tensor([[3, 1, 19], [4, 19, 0]])
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(again(images, ids), model(images, ids))
    with pytest.raises(ModelError, match=r"clip_(vision|text)_model cannot hold this model"):
        to_hf(model, tmp_path)
    hf = json.loads((tmp_path / "config.json").read_text())
    for change in ({"projection_dimm": 4}, {"vission": hf["vision"]}, {"projection_dim": hf["vision"]}):
        with pytest.raises(ModelError, match=r"a setting of config\.json cannot be used"):
            from_hf(hf | change, model.state_dict())


def test_sentences():
    with pytest.raises(ValueError, match="use tie_embeddings=True"):
        OurConfig(VIT, GPTConfig(20, tie_embeddings=False))
    with pytest.raises(ValueError, match="leave n_classes=3 out"):
        OurConfig(ViTConfig(n_classes=3), GPT)
    with pytest.raises(ValueError, match="end_token=20 is not in the vocabulary of 20"):
        OurConfig(VIT, GPT, 4, 20)
    model = CLIP(OurConfig(VIT, GPT, 4, 19))
    with pytest.raises(ValueError, match=r"text 1 has no end token \(19\)"):
        model.text_features(torch.tensor([[3, 19], [3, 4], [3, 5]]))
    with pytest.raises(ValueError, match="has 7 tokens, but the model has 6 positions"):
        model.text_features(torch.full((1, 7), 19))
    with pytest.raises(ValueError, match="but the vocabulary has 20"):
        model.text_features(torch.tensor([[20, 19]]))


class Fixed(torch.nn.Module):
    """A model whose logits are given, whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images, texts):
        return self.logits


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_loss_against_one_pair_at_a_time(n):
    logits = torch.randn(n, n, dtype=torch.float64) * 5
    total = 0.0
    for i in range(n):
        of_text = math.exp(logits[i, i]) / sum(math.exp(logits[i, j]) for j in range(n))
        of_image = math.exp(logits[i, i]) / sum(math.exp(logits[j, i]) for j in range(n))
        total -= math.log(of_text) / (2 * n) + math.log(of_image) / (2 * n)
    batch = torch.zeros(n, 3, 1, 1), torch.zeros(n, 1, dtype=torch.long)
    assert contrastive_loss(Fixed(logits), batch).item() == pytest.approx(total, rel=1e-12)
    assert contrastive_loss(Fixed(logits.T), batch).item() == pytest.approx(total, rel=1e-12)
    equal = contrastive_loss(Fixed(torch.full((n, n), 3.0, dtype=torch.float64)), batch)
    assert equal.item() == pytest.approx(math.log(n), abs=1e-12)


def test_in_training_the_scale_stays_at_100():
    model = CLIP(OurConfig(VIT, GPT, 4))
    images, ids = torch.randn(2, 3, 8, 8), torch.tensor([[1, 19], [2, 19]])
    model.logit_scale.data.fill_(6.0)
    cosines = model.image_features(images) @ model.text_features(ids).T
    assert_close(model(images, ids), 100 * cosines)
    assert_close(model.eval()(images, ids), math.exp(6) * cosines)
    assert cosines.abs().max() <= 1 + 1e-6


def test_it_learns_what_belongs_together():
    """From the chance level, ln(8), to the right text for every image."""
    torch.manual_seed(0)
    model = CLIP(OurConfig(VIT, GPT, 8, 19))
    images, ids = torch.rand(8, 3, 8, 8), torch.cat((torch.randint(19, (8, 4)), torch.full((8, 1), 19)), dim=1)
    history = train(
        model, lambda generator: (images, ids), contrastive_loss, TrainConfig(steps=60, lr=3e-3, warmup_steps=5)
    )
    assert history.loss[0] == pytest.approx(math.log(8), abs=1.0)
    with torch.no_grad():
        logits = model(images, ids)
        assert (logits.argmax(dim=1) == torch.arange(8)).all()
        assert contrastive_loss(model, (images, ids)) < 0.2
        assert contrastive_loss(model, (images, ids.roll(1, dims=0))) > math.log(8)


def test_any_two_encoders_can_meet():
    """A network of timm or torch for images and a bag of words for texts: what the loss needs is their logits."""

    class Bag(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.eyes = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ReLU(), torch.nn.Flatten())
            self.words = torch.nn.EmbeddingBag(20, 32)

        def forward(self, images, ids):
            return 10 * F.normalize(self.eyes(images), dim=1) @ F.normalize(self.words(ids), dim=1).T

    torch.manual_seed(0)
    model, images, ids = Bag(), torch.rand(4, 3, 8, 8), torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8]])
    history = train(
        model, lambda generator: (images, ids), contrastive_loss, TrainConfig(steps=60, lr=2e-2, warmup_steps=5)
    )
    assert history.loss[-1] < 0.1 < history.loss[0]

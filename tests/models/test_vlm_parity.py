"""Our VLM gives the numbers of transformers' LLaVA: on random models, both ways, with several images and padding."""

import copy
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, llama, made, quick, seeds
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from course_lib.errors import ModelError
from course_lib.interop import from_hf, from_pretrained, to_hf
from course_lib.interop.hf import FAMILIES
from course_lib.train.losses import caption_loss

FAMILY = next(family for family in FAMILIES if family.model_type == "llava")

tower = st.builds(
    lambda head_dim, n_heads, **rest: {"hidden_size": head_dim * n_heads, "num_attention_heads": n_heads, **rest},
    head_dim=st.integers(1, 6),
    n_heads=st.integers(1, 3),
    num_hidden_layers=st.integers(1, 3),
    intermediate_size=st.integers(1, 16),
    num_channels=st.sampled_from([1, 3]),
    image_size=st.sampled_from([4, 5, 6]),
    patch_size=st.integers(2, 4),
    hidden_act=st.sampled_from(["quick_gelu", "gelu", "gelu_new", "relu", "silu"]),
    layer_norm_eps=st.sampled_from([1e-5, 1e-3]),
)


@st.composite
def llava(draw):
    vision, text = draw(tower), draw(llama)
    layers = vision["num_hidden_layers"]
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**vision),
        text_config=LlamaConfig(**text),
        image_token_index=draw(st.integers(0, text["vocab_size"] - 1)),
        # Transformers takes the layer 0 for "no layer"; by its other name, -layers - 1, it finds it.
        vision_feature_layer=draw(st.integers(-layers - 1, layers).filter(bool)),
        vision_feature_select_strategy=draw(st.sampled_from(["default", "full"])),
        projector_hidden_act=draw(st.sampled_from(["gelu", "gelu_new", "quick_gelu", "relu", "silu"])),
        multimodal_projector_bias=draw(st.booleans()),
    )


def small(**changes):
    vision = {
        "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 5, "image_size": 6,
        "patch_size": 3,
    }  # fmt: skip
    text = {
        "hidden_size": 12, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 5, "vocab_size": 20,
    }  # fmt: skip
    return LlavaConfig(
        **{
            "vision_config": CLIPVisionConfig(**vision | changes.pop("vision", {})),
            "text_config": LlamaConfig(**text | changes.pop("text", {})),
            "image_token_index": 19,
            **changes,
        }
    )


def texts_with(config, n_images, side="right"):
    """Texts with these numbers of images, their tokens in runs at random places, padded; the images."""
    vision, image = config.vision_config, config.image_token_index
    each = (vision.image_size // vision.patch_size) ** 2 + (config.vision_feature_select_strategy == "full")
    n = 3 + max(n_images) * (each + 2)
    ids, real = torch.zeros(len(n_images), n, dtype=torch.int64), torch.zeros(len(n_images), n, dtype=torch.bool)
    words = [i for i in range(config.text_config.vocab_size) if i != image]
    for row, count in enumerate(n_images):
        text = []
        for _ in range(count):
            text += [words[int(torch.randint(len(words), ()))] for _ in range(int(torch.randint(3, ())))]
            text += [image] * each
        text += [words[int(torch.randint(len(words), ()))]] * int(torch.randint(1, 4, ()))
        place = slice(0, len(text)) if side == "right" else slice(n - len(text), n)
        ids[row], real[row, place] = words[0], True
        ids[row, place] = torch.tensor(text)
    size = (vision.num_channels, vision.image_size, vision.image_size)
    return ids, real, torch.randn(sum(n_images), *size) if sum(n_images) else None


@torch.no_grad()
def assert_same(ours, theirs, n_images=(1, 0, 2), side="right"):
    ids, real, images = texts_with(theirs.config, n_images, side)
    expected = theirs(input_ids=ids, pixel_values=images, attention_mask=real.long()).logits[real]
    mask = real[:, None, None]
    # Relative to the largest logit: sums of up to 200 float32 products in another order stay well below 1e-5. A norm of
    # a vector of nearly equal numbers, or nearly 0, makes more of them. The distance from float64 shows such a model,
    # ten times that: one draw of rounding errors against another.
    pictures = None if images is None else images.double()
    doubled = copy.deepcopy(theirs).double()
    exact = doubled(input_ids=ids, pixel_values=pictures, attention_mask=real.long()).logits[real]
    rounding = (expected - exact).abs().max()
    for logits in (ours(ids, images, mask), ours(ids, images, mask, return_weights=True)[0]):
        assert (logits[real] - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1) + 10 * rounding


@quick
@given(llava(), seeds, st.lists(st.integers(0, 2), min_size=1, max_size=3), st.sampled_from(["left", "right"]))
def test_llava(config, seed, n_images, side):
    theirs = made(LlavaForConditionalGeneration, config, seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, n_images, side)
    assert_same(ours, back, n_images, side)  # the settings came back too, not only the tensors
    assert ours.config.decoder.tie_embeddings == config.text_config.tie_word_embeddings
    assert not ours.training


def test_gradients_of_the_objective():
    theirs = made(LlavaForConditionalGeneration, small(), 0)
    ours = from_hf(theirs.config.to_dict(), {name: t.clone() for name, t in theirs.state_dict().items()})
    ids, real, images = texts_with(theirs.config, [2, 1, 0])
    labels = ids.where(real & (ids != 19) & (torch.arange(ids.shape[1]) > 2), -100)
    theirs(input_ids=ids, pixel_values=images, labels=labels).loss.backward()
    targets = torch.cat((labels[:, 1:], torch.full((3, 1), -100)), dim=1)
    caption_loss(ours, (ids, targets, images)).mean.backward()
    expected = {FAMILY.current_name(name): parameter.grad for name, parameter in theirs.named_parameters()}
    largest = max(gradient.abs().max() for gradient in expected.values() if gradient is not None)
    compared = set()
    for name, parameter in ours.named_parameters():
        if parameter.grad is None:  # behind the layer that the features come from
            assert name.startswith(("vision.blocks.2.", "vision.norm."))
            continue
        for place, gradient in FAMILY.tensor_views(ours, name, parameter.grad):
            # A gradient passes every layer twice: ten times the rounding of the logits.
            assert (gradient - expected[place]).abs().max() <= 1e-4 * largest, place
            compared.add(place)
    assert compared == {name for name, gradient in expected.items() if gradient is not None}


def renamed(tensors, changes):
    for old, new in changes:
        tensors = {name.replace(old, new, 1) if name.startswith(old) else name: t for name, t in tensors.items()}
    return tensors


IN_MEMORY = [
    ("language_model.model.", "model.language_model."), ("language_model.lm_head", "lm_head"),
    ("vision_tower.", "model.vision_tower."), ("multi_modal_projector.", "model.multi_modal_projector."),
]  # fmt: skip


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("level", ["", "vision_model."])
def test_files_of_all_versions(tmp_path, in_memory, level):
    theirs = made(LlavaForConditionalGeneration, small(), 0)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = renamed(load_file(file), [("vision_tower.vision_model.", "vision_tower.")])
    tensors = renamed(tensors, [("vision_tower.", f"vision_tower.{level}"), *(IN_MEMORY if in_memory else [])])
    save_file(tensors, file, {"format": "pt"})
    assert_same(from_pretrained(tmp_path), theirs)


def test_the_image_token_by_either_name():
    theirs = made(LlavaForConditionalGeneration, small(), 0)
    settings = theirs.config.to_dict()
    settings["image_token_id"] = settings.pop("image_token_index")
    assert_same(from_hf(settings, theirs.state_dict()), theirs)
    with pytest.raises(ModelError, match="image_token_index=3 and image_token_id=19 differ"):
        from_hf(settings | {"image_token_index": 3}, theirs.state_dict())


def test_a_published_config_is_read():
    """That of llava-1.5-7b: what it does not say, transformers knows."""
    config = FAMILY.read(
        {
            "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000,
            "model_type": "llava", "pad_token_id": 32001, "projector_hidden_act": "gelu",
            "text_config": {
                "_name_or_path": "vicuna", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096,
                "model_type": "llama", "rms_norm_eps": 1e-05, "torch_dtype": "float16", "vocab_size": 32064,
            },
            "tie_word_embeddings": False, "torch_dtype": "float16", "transformers_version": "4.36.0.dev0",
            "vision_config": {
                "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "model_type": "clip_vision_model",
                "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768,
                "vocab_size": 32000,
            },
            "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": 32064,
        }
    )  # fmt: skip
    assert (config.decoder.d_model, config.decoder.n_layers, config.decoder.d_ff) == (4096, 32, 11008)
    assert (config.vision.d_model, config.vision.n_layers, config.layer, config.d_vision) == (1024, 24, -2, 1024)
    assert (config.decoder.context, config.decoder.vocab_size, config.decoder.tie_embeddings) == (4096, 32064, False)
    room = {"text_config": {"model_type": "llama", "vocab_size": 32001}}
    assert FAMILY.read({"model_type": "llava", **room}) == FAMILY.read(LlavaConfig(**room).to_dict())


# Every setting that transformers knows for a LLaVA, with a value that is not its usual one.
OTHER = {
    "_name_or_path": "llava-tiny", "architectures": ["Llava"], "chunk_size_feed_forward": 1, "dtype": "float32",
    "id2label": {0: "a"}, "image_seq_length": 7, "image_token_index": 3, "is_encoder_decoder": True,
    "label2id": {"a": 0}, "model_type": "llava_next", "multimodal_projector_bias": False, "output_attentions": True,
    "output_hidden_states": True, "problem_type": "regression", "projector_hidden_act": "relu", "return_dict": True,
    "tie_word_embeddings": True, "transformers_version": "4.36.0", "vision_feature_layer": -1,
    "vision_feature_select_strategy": "full",
}  # fmt: skip
REFUSED = {"chunk_size_feed_forward", "is_encoder_decoder", "model_type", "problem_type"}


@pytest.mark.parametrize("name", sorted(LlavaConfig().to_dict().keys() - {"text_config", "vision_config"}))
def test_every_setting_is_kept_or_refused(name):
    settings = small().to_dict() | {name: OTHER[name]}
    if name in REFUSED:
        with pytest.raises(ModelError, match=name if name != "model_type" else "llava_next"):
            from_hf(settings, LlavaForConditionalGeneration(small()).state_dict())
        return
    theirs = made(LlavaForConditionalGeneration, LlavaConfig.from_dict(json.loads(json.dumps(settings))), 0)
    theirs.set_attn_implementation("eager")
    assert_same(from_hf(settings, theirs.state_dict()), theirs)


@pytest.mark.parametrize("tied_in", ["text", "whole", "both"])
def test_tying_is_said_in_two_places(tmp_path, tied_in):
    changes = {"text": {"tie_word_embeddings": tied_in != "whole"}, "tie_word_embeddings": tied_in != "text"}
    theirs = made(LlavaForConditionalGeneration, small(**changes), 0)
    theirs.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    settings = json.loads(config.read_text())
    settings["tie_word_embeddings"] = tied_in != "text"  # transformers 5 writes it in both places, 4 did not
    config.write_text(json.dumps(settings))
    ours = from_pretrained(tmp_path)
    assert ours.decoder.lm_head.weight is ours.decoder.token_embedding.weight
    assert_same(ours, theirs)
    to_hf(ours, tmp_path)
    settings = json.loads(config.read_text())
    assert settings["tie_word_embeddings"] is settings["text_config"]["tie_word_embeddings"] is True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_feature_layer": [-2, -1]}, r"vision_feature_layer=\[-2, -1\] is not supported"),
        ({"vision_feature_layer": 4}, "the ViT has 3 layers, so there is no layer=4"),
        ({"vision_feature_select_strategy": "cls"}, "vision_feature_select_strategy='cls' is not supported"),
        ({"projector_hidden_act": "mish"}, "projector_hidden_act='mish' is not supported"),
        ({"image_token_index": 20}, "image_token=20 is not in the vocabulary of 20 tokens"),
        ({"text_config": {"model_type": "mistral"}}, "text_config of model_type='mistral' is not supported"),
        ({"vision_config": {"model_type": "siglip_vision_model"}}, "vision_config of model_type='siglip_vision_model'"),
        ({"a_setting_of_next_year": 3}, "a_setting_of_next_year"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        from_hf(small().to_dict() | changes, LlavaForConditionalGeneration(small()).state_dict())


def test_what_llava_cannot_hold(tmp_path):
    from course_lib.models import VLM, GPTConfig, ViTConfig, VLMConfig

    published = ViTConfig(8, 4, activation="quick_gelu", pre_norm=True, d_model=8, n_layers=1, n_heads=2, norm_eps=1e-5)
    text = GPTConfig(
        20, 16, 8, 1, 2, position="rope", norm="rms", activation="swiglu", bias=False, tie_embeddings=False
    )
    for features, each in (("patches", 4), ("all", 5)):
        to_hf(VLM(VLMConfig(published, text, 19, features=features)), tmp_path)
        # Its own reader of images writes so many image tokens.
        assert json.loads((tmp_path / "config.json").read_text())["image_seq_length"] == each
    for config, message in [
        (VLMConfig(published, text, 19, projector_norm=True), "projector_norm=True"),
        (VLMConfig(published, text, 19, features="pooled"), "vision_feature_select_strategy='pooled'"),
        (VLMConfig(published, GPTConfig(20, 16, 8, 1, 2), 19), "llama cannot hold this model"),
        (VLMConfig(ViTConfig(8, 4, d_model=8, n_layers=1, n_heads=2), text, 19), "clip_vision_model cannot hold"),
    ]:
        with pytest.raises(ModelError, match=message):
            to_hf(VLM(config), tmp_path)

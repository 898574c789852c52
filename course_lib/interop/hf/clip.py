"""CLIP and its vision tower alone, in the format of transformers."""

from typing import Any

from course_lib.errors import ModelError
from course_lib.interop.hf.family import ACTIVATIONS, Family, Names, Setting, prefixed
from course_lib.interop.hf.vit import VIT_SETTINGS, square
from course_lib.models import clip
from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.vit import ViT, ViTConfig

# The width of CLIP's projection on top of a tower, and whether to tie an output layer, which no tower has.
HARMLESS = {"projection_dim", "tie_word_embeddings"}
END_TOKEN = 49407  # if the config does not say


def _flatten(hf: dict[str, Any]) -> dict[str, Any]:
    """Flatten the towers' settings, of which old configs have a second version that counts, and the end token."""
    towers = {}
    for tower in ("text_config", "vision_config"):
        old, new = hf.pop(f"{tower}_dict", None), hf.pop(tower, None)
        towers[tower] = dict((new or {}) if old is None else old)
    end = towers["text_config"].pop("eos_token_id", END_TOKEN)
    if not isinstance(end, int):
        raise ModelError(f"eos_token_id={end!r} is not supported; it must be one token")
    hf.pop("logit_scale_init_value", None)  # for a model that is not trained yet
    # Configs that say 2 are older than the setting's present meaning; for them transformers takes the highest id.
    return hf | towers | {"end_token": None if end == 2 else end}


def _finish(hf: dict[str, Any]) -> dict[str, Any]:
    end = hf.pop("end_token")
    hf["text_config"] |= {"projection_dim": hf["projection_dim"], "eos_token_id": 2 if end is None else end}
    hf["vision_config"] |= {"projection_dim": hf["projection_dim"]}
    return hf


LAYERS: Names = {
    "blocks.*.norm1": "encoder.layers.*.layer_norm1",
    "blocks.*.attention.qkv": tuple(f"encoder.layers.*.self_attn.{part}_proj" for part in "qkv"),
    "blocks.*.attention.out": "encoder.layers.*.self_attn.out_proj",
    "blocks.*.norm2": "encoder.layers.*.layer_norm2",
    "blocks.*.feed_forward.up": "encoder.layers.*.mlp.fc1",
    "blocks.*.feed_forward.down": "encoder.layers.*.mlp.fc2",
}
VISION_NAMES: Names = {
    "patches": "vision_model.embeddings.patch_embedding",
    "class_token": "vision_model.embeddings.class_embedding",
    "position": "vision_model.embeddings.position_embedding",
    "pre_norm": "vision_model.pre_layrnorm",
    **prefixed("", "vision_model.", LAYERS),
    "norm": "vision_model.post_layernorm",
}
CLIP_VISION = Family(
    model_type="clip_vision_model",
    architecture="CLIPVisionModel",
    config=ViTConfig,
    model=ViT,
    settings={
        **VIT_SETTINGS,
        "patch_size": Setting("patch_size", 32),
        "activation": Setting("hidden_act", "quick_gelu", ACTIVATIONS),
        "norm_eps": Setting("layer_norm_eps", 1e-5),
    },
    fixed={"pre_norm": True},
    harmless=HARMLESS | {"vocab_size"},  # a vision tower has none, but LLaVA's configs say it
    names=VISION_NAMES,
    prefix="vision_model.",
    ignored_tensors=("embeddings.position_ids",),  # 0, 1, 2, ..., which old files contain
    flatten=square,
)
TEXT_NAMES: Names = {
    "token_embedding": "embeddings.token_embedding",
    "lm_head": "embeddings.token_embedding",  # tied, and not used
    "position": "embeddings.position_embedding",
    **LAYERS,
    "norm": "final_layer_norm",
}
CLIP_TEXT = Family(
    model_type="clip_text_model",
    architecture="CLIPTextModel",
    config=GPTConfig,
    model=GPT,
    settings={
        "vocab_size": Setting("vocab_size", 49408),
        "context": Setting("max_position_embeddings", 77),
        "d_model": Setting("hidden_size", 512),
        "n_layers": Setting("num_hidden_layers", 12),
        "n_heads": Setting("num_attention_heads", 8),
        "d_ff": Setting("intermediate_size", 2048),
        "activation": Setting("hidden_act", "quick_gelu", ACTIVATIONS),
        "norm_eps": Setting("layer_norm_eps", 1e-5),
    },
    harmless=HARMLESS,
    names=TEXT_NAMES,
)
CLIP = Family(
    model_type="clip",
    architecture="CLIPModel",
    config=clip.CLIPConfig,
    model=clip.CLIP,
    settings={"projection_dim": Setting("projection_dim", 512), "end_token": Setting("end_token", None)},
    nested={"vision": ("vision_config", CLIP_VISION), "text": ("text_config", CLIP_TEXT)},
    names={
        **prefixed("vision.", "", VISION_NAMES),
        **prefixed("text.", "text_model.", TEXT_NAMES),
        "vision_projection": "visual_projection",
        "text_projection": "text_projection",
        "logit_scale": "logit_scale",
    },
    ignored_tensors=("embeddings.position_ids",),
    flatten=_flatten,
    finish=_finish,
)

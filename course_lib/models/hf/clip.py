"""CLIP, as transformers writes it."""

from typing import Any

from course_lib.models import clip
from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.hf.family import ACTIVATIONS, Family, ModelError, Setting, inside
from course_lib.models.hf.vit import CLIP_VISION, VISION_NAMES

# How to write texts, and what to do with an output layer: in old files even for a tower that does neither.
UNREAD = {
    "length_penalty", "max_length", "num_beam_groups", "num_beams", "num_return_sequences", "projection_dim",
    "repetition_penalty", "temperature", "tie_word_embeddings", "top_k", "top_p",
}  # fmt: skip
END_TOKEN = 49407  # where the file is silent


def _arrange(hf: dict[str, Any]) -> dict[str, Any]:
    """The towers' settings, of which old files have a second version that counts, and the end token beside them."""
    towers = {}
    for tower in ("text_config", "vision_config"):
        old, new = hf.pop(f"{tower}_dict", None), hf.pop(tower, None)
        settings = (new or {}) if old is None else old
        towers[tower] = {name: value for name, value in settings.items() if name not in UNREAD}
    end = towers["text_config"].pop("eos_token_id", END_TOKEN)
    if not isinstance(end, int):
        raise ModelError(f"eos_token_id={end!r} is not supported; it must be one token")
    hf.pop("logit_scale_init_value", None)  # of a model that is not trained yet
    # Files that say 2 are older than this setting was right; for them transformers takes the highest id.
    return hf | towers | {"end_token": None if end == 2 else end}


def _complete(hf: dict[str, Any]) -> dict[str, Any]:
    end = hf.pop("end_token")
    hf["text_config"] |= {"projection_dim": hf["projection_dim"], "eos_token_id": 2 if end is None else end}
    hf["vision_config"] |= {"projection_dim": hf["projection_dim"]}
    return hf


TEXT_NAMES: dict[str, str | tuple[str, ...]] = {
    "tokens": "embeddings.token_embedding",
    "head": "embeddings.token_embedding",  # tied, and not used
    "position": "embeddings.position_embedding",
    "blocks.*.norm1": "encoder.layers.*.layer_norm1",
    "blocks.*.attention.qkv": tuple(f"encoder.layers.*.self_attn.{part}_proj" for part in "qkv"),
    "blocks.*.attention.out": "encoder.layers.*.self_attn.out_proj",
    "blocks.*.norm2": "encoder.layers.*.layer_norm2",
    "blocks.*.feed_forward.up": "encoder.layers.*.mlp.fc1",
    "blocks.*.feed_forward.down": "encoder.layers.*.mlp.fc2",
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
    names=TEXT_NAMES,
)
CLIP = Family(
    model_type="clip",
    architecture="CLIPModel",
    config=clip.CLIPConfig,
    model=clip.CLIP,
    settings={"d_shared": Setting("projection_dim", 512), "end_token": Setting("end_token", None)},
    inner={"vision": ("vision_config", CLIP_VISION), "text": ("text_config", CLIP_TEXT)},
    names={
        **inside("vision", "", VISION_NAMES),
        **inside("text", "text_model.", TEXT_NAMES),
        "vision_projection": "visual_projection",
        "text_projection": "text_projection",
        "log_scale": "logit_scale",
    },
    ignored=("embeddings.position_ids",),  # 0, 1, 2, ..., which old files carry along
    arrange=_arrange,
    complete=_complete,
)

"""LLaVA in the format of transformers, with the vision tower of CLIP and Llama as decoder."""

from typing import Any

from course_lib.errors import ModelError
from course_lib.interop.hf.clip import CLIP_VISION, VISION_NAMES
from course_lib.interop.hf.family import ACTIVATIONS, Family, Setting, prefixed
from course_lib.interop.hf.gpt import LLAMA, LLAMA_MLP_NAMES, LLAMA_NAMES
from course_lib.models.vlm import VLM, VLMConfig

# The defaults of transformers, for the whole tower and for each setting of the decoder.
TOWER = {
    "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "num_attention_heads": 16,
    "num_hidden_layers": 24, "patch_size": 14,
}  # fmt: skip
DECODER = {
    "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_hidden_layers": 32,
    "vocab_size": 32000,
}  # fmt: skip
# The number of tokens of an image, which the tower determines; the target that the loss ignores; and the decoder's
# vocabulary size again.
HARMLESS = {"image_seq_length", "ignore_index", "vocab_size"}


def _flatten(hf: dict[str, Any]) -> dict[str, Any]:
    """Keep each setting once: tying is said in two places, and the image token has two names."""
    if isinstance(layer := hf.get("vision_feature_layer"), list):
        raise ModelError(f"vision_feature_layer={layer} is not supported; it must be one layer")
    decoder = DECODER | (hf.pop("text_config", None) or {})
    decoder["tie_word_embeddings"] = bool(hf.pop("tie_word_embeddings", False) or decoder.get("tie_word_embeddings"))
    token, same = hf.get("image_token_index"), hf.pop("image_token_id", None)
    if token is not None and same not in (token, None):
        raise ModelError(f"image_token_index={token} and image_token_id={same} differ; take one of them out")
    tower = hf.pop("vision_config", None) or TOWER
    return hf | {
        "text_config": decoder,
        "vision_config": tower,
        "image_token_index": same if token is None else token,
    }


def _finish(hf: dict[str, Any]) -> dict[str, Any]:
    tower = hf["vision_config"]
    patches = (tower["image_size"] // tower["patch_size"]) ** 2
    whole = hf["vision_feature_select_strategy"] == "full"
    tied = hf["text_config"]["tie_word_embeddings"]
    return hf | {"image_seq_length": patches + whole, "tie_word_embeddings": tied}


LLAVA = Family(
    model_type="llava",
    architecture="LlavaForConditionalGeneration",
    config=VLMConfig,
    model=VLM,
    settings={
        "image_token": Setting("image_token_index", 32000),
        "features": Setting("vision_feature_select_strategy", "default", {"default": "patches", "full": "all"}),
        "layer": Setting("vision_feature_layer", -2),
        "projector_activation": Setting("projector_hidden_act", "gelu", ACTIVATIONS),
        "projector_bias": Setting("multimodal_projector_bias", True),
    },
    harmless=HARMLESS,
    nested={"vision": ("vision_config", CLIP_VISION), "decoder": ("text_config", LLAMA)},
    names={
        **prefixed("vision.", "vision_tower.", VISION_NAMES),
        "projector.up": "multi_modal_projector.linear_1",
        "projector.down": "multi_modal_projector.linear_2",
        **prefixed("decoder.", "language_model.", LLAMA_NAMES | LLAMA_MLP_NAMES),
    },
    ignored_tensors=("embeddings.position_ids", "rotary_emb.inv_freq"),  # in old files
    # In memory the parts are in another order since transformers 4.52, and the tower has one level less since 5.
    renamed={
        r"^model\.language_model\.": "language_model.model.",
        r"^lm_head\.": "language_model.lm_head.",
        r"^model\.(vision_tower|multi_modal_projector)\.": r"\1.",
        r"^vision_tower\.(?!vision_model\.)": "vision_tower.vision_model.",
    },
    flatten=_flatten,
    finish=_finish,
)

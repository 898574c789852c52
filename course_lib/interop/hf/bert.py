"""BERT in the format of transformers, with and without its head for masked tokens."""

from collections.abc import Mapping
from typing import Any

from course_lib.interop.hf.family import ACTIVATIONS, Family, Setting
from course_lib.models.bert import Bert, BertConfig

# Settings in Google's own configs that no code has ever read.
HARMLESS = {
    "directionality", "output_past", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type",
}  # fmt: skip
LAYER = "bert.encoder.layer.*."


def _detect(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "head": "mlm" if any(name.startswith("cls.predictions.") for name in tensors) else "none",
        "pooler": any(name.endswith("pooler.dense.weight") for name in tensors),
    }


BERT = Family(
    model_type="bert",
    architecture=lambda config: "BertForMaskedLM" if config.head == "mlm" else "BertModel",
    config=BertConfig,
    model=Bert,
    settings={
        "vocab_size": Setting("vocab_size"),
        "context": Setting("max_position_embeddings", 512),
        "d_model": Setting("hidden_size"),
        "n_layers": Setting("num_hidden_layers"),
        "n_heads": Setting("num_attention_heads"),
        "d_ff": Setting("intermediate_size"),
        "n_token_types": Setting("type_vocab_size", 2),
        "activation": Setting("hidden_act", "gelu", ACTIVATIONS),
        "norm_eps": Setting("layer_norm_eps", 1e-12),
    },
    expected={"position_embedding_type": "absolute", "tie_word_embeddings": True},
    harmless=HARMLESS,
    names={
        "token_embedding": "bert.embeddings.word_embeddings",
        "position": "bert.embeddings.position_embeddings",
        "token_types": "bert.embeddings.token_type_embeddings",
        "norm": "bert.embeddings.LayerNorm",
        "blocks.*.attention.qkv": tuple(f"{LAYER}attention.self.{part}" for part in ("query", "key", "value")),
        "blocks.*.attention.out": LAYER + "attention.output.dense",
        "blocks.*.norm1": LAYER + "attention.output.LayerNorm",
        "blocks.*.feed_forward.up": LAYER + "intermediate.dense",
        "blocks.*.feed_forward.down": LAYER + "output.dense",
        "blocks.*.norm2": LAYER + "output.LayerNorm",
        "pooler": "bert.pooler.dense",
        "transform": "cls.predictions.transform.dense",
        "transform_norm": "cls.predictions.transform.LayerNorm",
        "lm_head.weight": "cls.predictions.decoder.weight",
        "lm_head.bias": "cls.predictions.bias",
    },
    prefix="bert.",
    # Position numbers, a second name of the head's bias, and the next-sentence classifier, which we do not use.
    ignored_tensors=(
        "position_ids",
        "predictions.decoder.bias",
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
    ),
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},  # in Google's own files
    detect=_detect,
)

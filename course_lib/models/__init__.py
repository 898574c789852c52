"""Whole models: each is parts of course_lib.nn and one frozen config."""

from course_lib.models.bert import Bert, BertConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.folder import from_hf, from_pretrained, save, to_hf
from course_lib.models.gguf import from_gguf
from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.hf.family import ModelError
from course_lib.models.pretrained import minilm, sentence_embeddings, smollm2
from course_lib.models.vit import ViT, ViTConfig

__all__ = [
    "CLIP",
    "GPT",
    "Bert",
    "BertConfig",
    "CLIPConfig",
    "GPTConfig",
    "ModelError",
    "ViT",
    "ViTConfig",
    "from_gguf",
    "from_hf",
    "from_pretrained",
    "minilm",
    "save",
    "sentence_embeddings",
    "smollm2",
    "to_hf",
]

"""Whole models: each is parts of course_lib.nn and one frozen config."""

from course_lib.models.bag_clip import BagCLIP, BagCLIPConfig
from course_lib.models.bert import Bert, BertConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.folder import from_hf, from_pretrained, save, to_hf
from course_lib.models.gguf import from_gguf
from course_lib.models.gpt import GPT, GPTConfig, dense_twin
from course_lib.models.hf.family import ModelError
from course_lib.models.image_encoder import ImageEncoder, ImageEncoderConfig
from course_lib.models.pretrained import minilm, sentence_embeddings, smollm2
from course_lib.models.t5 import T5, T5Config, shift_right
from course_lib.models.tower import VisionTower, from_timm, vision_tower
from course_lib.models.vit import ViT, ViTConfig
from course_lib.models.vlm import VLM, VLMConfig, tiles

__all__ = [
    "CLIP",
    "GPT",
    "T5",
    "VLM",
    "BagCLIP",
    "BagCLIPConfig",
    "Bert",
    "BertConfig",
    "CLIPConfig",
    "GPTConfig",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ModelError",
    "T5Config",
    "VLMConfig",
    "ViT",
    "ViTConfig",
    "VisionTower",
    "dense_twin",
    "from_gguf",
    "from_hf",
    "from_pretrained",
    "from_timm",
    "minilm",
    "save",
    "sentence_embeddings",
    "shift_right",
    "smollm2",
    "tiles",
    "to_hf",
    "vision_tower",
]

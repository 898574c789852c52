"""Whole models: each is parts of course_lib.nn and one frozen config."""

from course_lib.models.bag_clip import BagCLIP, BagCLIPConfig
from course_lib.models.bert import Bert, BertConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.gpt import GPT, GPTConfig, dense_equivalent
from course_lib.models.image_encoder import ImageEncoder, ImageEncoderConfig
from course_lib.models.t5 import T5, T5Config, shift_right
from course_lib.models.vision_tower import VisionTower, vision_tower
from course_lib.models.vit import ViT, ViTConfig
from course_lib.models.vlm import VLM, VLMConfig, split_into_tiles

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
    "T5Config",
    "VLMConfig",
    "ViT",
    "ViTConfig",
    "VisionTower",
    "dense_equivalent",
    "shift_right",
    "split_into_tiles",
    "vision_tower",
]

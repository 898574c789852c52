"""Whole models: each is built from parts of course_lib.nn according to one frozen config."""

from course_lib.models.bag_clip import BagCLIP, BagCLIPConfig
from course_lib.models.bert import Bert, BertConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.image_encoder import ImageEncoder, ImageEncoderConfig
from course_lib.models.t5 import T5, T5Config
from course_lib.models.vit import ViT, ViTConfig
from course_lib.models.vlm import VLM, VLMConfig

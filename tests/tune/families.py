"""A small model of every family, and what it is called with; and every method that trains a small part of it."""

import torch
from torch import nn

from course_lib.models import GPT, VLM, GPTConfig, ViT, ViTConfig, VLMConfig
from course_lib.models.bert import Bert, BertConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.t5 import T5, T5Config
from course_lib.tune.adapters import add_adapters
from course_lib.tune.bitfit import train_biases
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import add_lora
from course_lib.tune.prefix import add_prefix

GPT2 = GPTConfig(11, context=8, d_model=16, n_layers=2, n_heads=4)
LLAMA = GPTConfig(
    11, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, position="rope", norm="rms", activation="swiglu", bias=False
)
IMAGES = ViTConfig(image_size=8, patch_size=4, d_model=16, n_layers=1, n_heads=2)
METHODS = {"lora": add_lora, "prefix": add_prefix, "adapters": add_adapters, "bitfit": train_biases}
IDS = torch.arange(12).view(2, 6) % 11


def shake(model, std=0.3):
    """Draw all weights that are trained anew; the model."""
    for parameter in trainable_parameters(model).values():
        nn.init.normal_(parameter, std=std)
    return model


def models():
    """Every family, and what it is called with."""
    moe = GPTConfig(11, d_model=16, n_layers=1, n_heads=2, activation="swiglu", bias=False, n_experts=2, d_ff=8)
    small = {"d_model": 16, "n_layers": 1, "n_heads": 2}
    torch.manual_seed(0)
    images = torch.rand(2, 3, 8, 8)
    text = torch.tensor([[1, 2, 10], [3, 10, 4]])
    seeing = torch.cat((torch.full((2, 4), 10), IDS % 10), dim=1)
    return {
        "gpt2": (GPT(GPT2), (IDS,)),
        "llama": (GPT(LLAMA), (IDS,)),
        "moe": (GPT(moe), (IDS,)),
        "bert": (Bert(BertConfig(11, context=8, **small)), (IDS,)),
        "t5": (T5(T5Config(11, **small)), (IDS, IDS[:, :3])),
        "vit": (ViT(IMAGES), (images,)),
        "clip": (CLIP(CLIPConfig(IMAGES, GPTConfig(11, **small))), (images, text)),
        "vlm": (
            VLM(VLMConfig(vision=IMAGES, decoder=GPTConfig(11, **small), image_token=10, features="patches", layer=-1)),
            (seeing, images),
        ),
    }


FAMILIES = list(models())

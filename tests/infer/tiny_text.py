"""A text model of a few thousand random numbers: what it writes is noise, so form can only come from a grammar."""

import json

import torch

from course_lib.data.tokenizers.bpe import BPE
from course_lib.data.tokenizers.chat import CHATML
from course_lib.data.tokenizers.fast_bpe import to_hf
from course_lib.infer.generation.text_generator import TextGenerator
from course_lib.interop import save_pretrained
from course_lib.models import GPT, GPTConfig

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BYTES = BPE(merges=((104, 105), (32, 256)), special=SPECIAL)  # 256 bytes, "hi" and " hi"
END = BYTES.special_ids["<|im_end|>"]


def tiny_model(context=256, seed=0):
    """A GPT with weights large enough for its guesses to differ from one another."""
    torch.manual_seed(seed)
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2, "position": "rope", "norm": "rms", "activation": "swiglu"}
    model = GPT(GPTConfig(BYTES.vocab_size, context, bias=False, **sizes)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(4)
    return model


def tiny(context=256, end=(END,), template=CHATML, name="tiny", seed=0):
    """That model with its tokenizer, ready to write."""
    return TextGenerator(tiny_model(context, seed), to_hf(BYTES), frozenset(end), template, name=name)


def tiny_folder(folder, template=CHATML, context=256):
    """Write that model as a folder that transformers opens too."""
    save_pretrained(tiny_model(context), folder)
    to_hf(BYTES).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": END}))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder

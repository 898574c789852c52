"""The logits of a few tokens after each text, against the model reading each text whole."""

import pytest
import torch

from course_lib.data.tokenizers.pretrained import smollm2_tokenizer
from course_lib.infer.choices import choice_logits
from course_lib.models import GPT, GPTConfig

TOKENIZER = smollm2_tokenizer()


@pytest.mark.parametrize("shared", ["", "she said that he would. "])
def test_as_if_each_text_were_read_alone(shared):
    torch.manual_seed(0)
    model = GPT(GPTConfig(TOKENIZER.get_vocab_size(), context=64, d_model=8, n_layers=2, n_heads=2)).eval()
    texts = ["the baker said that", "she", "the baker would not sing, and she"]
    choices = [" he", " she", " that"]
    tokens = [TOKENIZER.encode(choice).ids[0] for choice in choices]
    before = TOKENIZER.encode(shared).ids if shared else []
    alone = [model(torch.tensor([before + TOKENIZER.encode(text).ids]))[0, -1, tokens] for text in texts]
    found = choice_logits(model, TOKENIZER, texts, choices, shared)
    torch.testing.assert_close(found, torch.stack(alone).detach(), atol=1e-5, rtol=1e-5)

"""Models and tasks of a few tokens, for which everything can be counted."""

import itertools

import torch

from course_lib.models import GPT, GPTConfig
from course_lib.tune.completions import completion_examples, completion_logprobs

END = 3  # of a vocabulary of 0, 1, 2 and END


def gpt(seed=0, **changes):
    """A random GPT over those few tokens."""
    torch.manual_seed(seed)
    size = {"vocab_size": 4, "context": 8, "d_model": 16, "n_layers": 1, "n_heads": 2}
    return GPT(GPTConfig(**{**size, **changes}))


def replies(longest=2):
    """All replies of at most so many tokens: ended, or cut off."""
    texts = itertools.product(range(4), repeat=longest)
    return sorted({text[: text.index(END) + 1] if END in text else text for text in texts})


def distribution(model, prompt, every):
    """The probability of each of these replies to a prompt."""
    with torch.no_grad():
        return completion_logprobs(model, completion_examples([prompt] * len(every), every).all()).sum(1).exp()

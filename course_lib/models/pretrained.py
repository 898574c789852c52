"""Published models, ready to run."""

from tokenizers import Tokenizer

from course_lib.models.gguf import from_gguf
from course_lib.models.gpt import GPT


def smollm2() -> tuple[GPT, Tokenizer]:
    """SmolLM2-135M-Instruct (Ben Allal et al. 2025) and its tokenizer: float32, eval mode, about 0.6 GB of memory.

    The published file keeps its weights in 4 bits (the embedding in 8), so numbers differ a little from those of the
    original bfloat16 weights.
    """
    from course_lib.data import pretrained, tokenizers

    return from_gguf(*pretrained.smollm2()), tokenizers.smollm2()

"""Running language models: generation with a KV cache, constrained decoding, weights in fewer bits, a server.

From tokens to tokens: `generate`, `complete`, `speculate`, with a `Sampling`; `quantize` for less memory. From text to
text: `open_model` opens a model with its tokenizer as a `TextGenerator`, which writes as a stream. Grammars are in
`course_lib.infer.constrained.grammar`, which needs llguidance; the server in `course_lib.infer.server` needs FastAPI.
"""

from course_lib.infer.generation.generate import complete, generate
from course_lib.infer.generation.open_model import open_model
from course_lib.infer.generation.sampling import GREEDY, Sampling, probabilities, sample
from course_lib.infer.generation.speculative import speculate
from course_lib.infer.generation.text_generator import ContextLengthExceeded, GenerationError, TextGenerator
from course_lib.infer.quantization.quantize import load_quantized, quantize, save_quantized, weight_bytes

__all__ = [
    "GREEDY",
    "ContextLengthExceeded",
    "GenerationError",
    "Sampling",
    "TextGenerator",
    "complete",
    "generate",
    "load_quantized",
    "open_model",
    "probabilities",
    "quantize",
    "sample",
    "save_quantized",
    "speculate",
    "weight_bytes",
]

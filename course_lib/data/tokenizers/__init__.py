"""Text to numbers and back: characters, byte-level BPE to read and to use, published tokenizers, chat templates."""

from course_lib.data.tokenizers.bpe import BPE, train_bpe
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.data.tokenizers.fast_bpe import END, FastBPE, train_fast_bpe
from course_lib.data.tokenizers.pretokenization import PATTERN, pretokenize
from course_lib.data.tokenizers.token_bytes import token_bytes

__all__ = [
    "BPE",
    "END",
    "PATTERN",
    "CharTokenizer",
    "FastBPE",
    "pretokenize",
    "token_bytes",
    "train_bpe",
    "train_fast_bpe",
]

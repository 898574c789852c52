"""Tokenizers: characters, and the two byte-level BPEs against those of transformers on the same files."""

import copy

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from course_lib.data.packages.fetching import fetch
from course_lib.data.packages.pretrained import smollm2_fields
from course_lib.data.tokenizers import pretrained as tokenizers
from course_lib.data.tokenizers.characters import CharTokenizer

SAMPLES = [
    "",
    "Hello world",
    "In 1984, it cost $23.50; 3.14159 != 22/7!",
    "  leading spaces\n\n\n\ttabs   and trailing  ",
    "naïve café — “quotes” 你好，世界 🐿️ ∑∞ ¡olé! Приветствую",
    "I'm you're we've DON'T it'd she'll",
    "def f(x):\n    return x**2  # squares\n",
    "http://example.org/?q=a%20b&c=d_e-f",
    "\u0000\ufffd\u200b\u00a0",
    "a" * 300,
    "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|<|im_end|>|><|endoftext|> text <|im_sta rt|>",
]

# The bytes for which SmolLM2 has no token: six control characters, the first bytes of planes 4 to 11 of
# Unicode, where nothing is assigned yet, and those that never occur in UTF-8.
MISSING = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100)}

texts = st.one_of(
    st.sampled_from(SAMPLES),
    st.text(max_size=60),
    st.lists(st.sampled_from(["<|im_start|>", "<|im_end|>", " ", "the", "12", "½", "\n", "é", "'s", "<"])).map("".join),
)


@pytest.fixture(scope="module")
def hf_smollm2():
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    return transformers.AutoTokenizer.from_pretrained(fetch("smollm2-135m-instruct"), gguf_file=name)


@pytest.fixture(scope="module")
def hf_smollm2_with_digits(hf_smollm2):
    """Its GGUF reader leaves out the step of `smollm` that sets every digit apart, which "  0" shows."""
    tokenizer = copy.deepcopy(hf_smollm2.backend_tokenizer)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, tokenizer.pre_tokenizer])
    return tokenizer


@pytest.fixture(scope="module")
def hf_gpt2():
    folder = fetch("gpt2-vocabulary")
    return transformers.GPT2TokenizerFast(str(folder / "encoder.json"), str(folder / "vocab.bpe"))


@pytest.fixture(scope="module")
def minilm():
    return tokenizers.minilm_tokenizer()


@pytest.fixture(scope="module")
def hf_minilm():
    """Made of the vocabulary alone, with the settings that BERT's paper and code name."""
    return transformers.BertTokenizer(str(fetch("minilm-l6-v2") / "vocab.txt"), do_lower_case=True)


@settings(deadline=None)
@given(text=texts | st.text(alphabet="abé Ž中,.#'0½\u0301\u200b", max_size=40))
def test_minilm_is_that_of_transformers(minilm, hf_minilm, text):
    assert minilm.encode(text).ids == hf_minilm.encode(text)


def test_minilm_keeps_the_length_of_a_text():
    tokenizer = tokenizers.minilm_tokenizer()
    assert tokenizer.get_vocab_size() == 30_522
    assert tokenizer.encode("Hello world").ids == [101, 7592, 2088, 102]
    assert len(tokenizer.encode("word " * 300).ids) == 302
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)
    assert len(tokenizers.minilm_tokenizer().encode("word " * 300).ids) == 302  # what one caller sets concerns no other


@settings(deadline=None)
@given(text=texts)
def test_smollm2_is_that_of_transformers(hf_smollm2, text):
    ours = tokenizers.smollm2_tokenizer()
    ids = ours.encode(text).ids
    if not any(c.isnumeric() for c in text):
        assert ids == hf_smollm2.encode(text, add_special_tokens=False)
    if not MISSING & set(text.encode()):
        assert ours.decode(ids, skip_special_tokens=False) == text


@settings(deadline=None)
@given(text=texts)
def test_smollm2_is_that_of_transformers_once_it_sets_digits_apart(hf_smollm2_with_digits, text):
    assert (
        tokenizers.smollm2_tokenizer().encode(text).ids
        == hf_smollm2_with_digits.encode(text, add_special_tokens=False).ids
    )


@settings(deadline=None)
@given(text=texts)
def test_gpt2_is_that_of_transformers(hf_gpt2, text):
    ours = tokenizers.gpt2_tokenizer()
    ids = ours.encode(text).ids
    assert ids == hf_gpt2.encode(text)
    assert ours.decode(ids, skip_special_tokens=False) == text


def test_gpt2_hello_world():
    assert tokenizers.gpt2_tokenizer().encode("Hello world").ids == [15496, 995]
    assert tokenizers.gpt2_tokenizer().get_vocab_size() == 50_257
    assert tokenizers.gpt2_tokenizer().encode("<|endoftext|>").ids == [50_256]


@pytest.mark.parametrize("text", ["2024", "x½½", "٣٤", "ⅧⅨ", " 7 8"])
def test_each_digit_is_a_token(text):
    tokenizer = tokenizers.smollm2_tokenizer()
    for token in tokenizer.encode(text).offsets:
        piece = text[slice(*token)]
        assert sum(c.isnumeric() for c in piece) <= 1
        assert len(piece) == 1 or not any(c.isnumeric() for c in piece)


def test_special_tokens_of_smollm2():
    tokenizer = tokenizers.smollm2_tokenizer()
    assert tokenizer.get_vocab_size() == 49_152
    for token, number in {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}.items():
        assert tokenizer.encode(f"a{token}b").ids[1] == number
    assert tokenizer.decode([1, tokenizer.token_to_id("Who"), 2]) == "Who"


def test_bytes_without_a_token_are_left_out():
    vocab, alphabet = tokenizers.smollm2_tokenizer().get_vocab(), pre_tokenizers.ByteLevel.alphabet()
    assert sum(letter not in vocab for letter in alphabet) == len(MISSING)
    assert tokenizers.smollm2_tokenizer().encode("a\x04b").tokens == ["a", "b"]


def test_another_kind_of_gguf_tokenizer_is_refused():
    fields = smollm2_fields() | {"tokenizer.ggml.pre": "llama-bpe"}
    with pytest.raises(ValueError, match=r"'gpt2', 'llama-bpe'\) is not supported"):
        tokenizers.gguf_tokenizer(fields)


@settings(deadline=None)
@given(text=st.text())
def test_characters_and_back(text):
    tokenizer = CharTokenizer.from_text(text)
    tokens = tokenizer.encode(text)
    assert tokens.dtype == torch.int64
    assert tokens.shape == (len(text),)
    assert tokenizer.vocab_size == len(set(text))
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode(tokens.tolist()) == text


def test_characters_are_sorted_so_that_the_same_text_gives_the_same_tokens():
    tokenizer = CharTokenizer.from_text("banana")
    assert tokenizer.characters == "abn"
    assert tokenizer.encode("nab").tolist() == [2, 0, 1]


def test_rare_characters_share_a_token():
    tokenizer = CharTokenizer.from_text("aaabbbcd", min_count=2)
    assert tokenizer.characters == "ab\ufffd"
    assert tokenizer.encode("abcdz").tolist() == [0, 1, 2, 2, 2]
    assert CharTokenizer.from_text("aabb", min_count=2).characters == "ab"


def test_an_unknown_character_is_named():
    with pytest.raises(ValueError, match="never seen the character 'c'"):
        CharTokenizer.from_text("ab").encode("abc")
    with pytest.raises(ValueError, match="never seen the character 'a'"):
        CharTokenizer.from_text("").encode("a")


@pytest.mark.parametrize("strange", [-1, -100, 2])
def test_an_id_outside_the_vocabulary_is_named(strange):
    with pytest.raises(ValueError, match=f"token {strange} is not in the vocabulary, which has 2 tokens"):
        CharTokenizer("ab").decode([0, strange])


def test_a_text_in_place_of_an_alphabet_is_refused():
    with pytest.raises(ValueError, match="from_text"):
        CharTokenizer("to be or not")

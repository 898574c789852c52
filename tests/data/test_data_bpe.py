"""BPE: ours in Python against rustbpe, tiktoken and tokenizers; any text, any bytes, real text; and what is refused."""

import functools
import inspect
import itertools
import json
from collections import Counter

import pytest
import rustbpe
import tiktoken
import tokenizers as hf
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import TikTokenConverter

from course_lib.data.corpora.wikipedia import wikipedia_leads
from course_lib.data.packages.fetching import fetch
from course_lib.data.tokenizers import bpe, fast_bpe, pretokenization
from course_lib.data.tokenizers import pretrained as tokenizers
from course_lib.data.tokenizers.bpe import BPE
from course_lib.data.tokenizers.fast_bpe import END, FastBPE
from course_lib.errors import DataError

SIZES = (256, 300, 1000, 4096)
CHAT = (END, "<|user|>", "<|user|>!", "<|")  # one name is the beginning of others

texts = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            [*CHAT, " the", "The", "ing", "123456", " ", "   ", "\n", "\r\n", "\t", "'s", "'LL", "é", "你好", "🐿️", "¾",
             "\u0085", "\u2028", "\ufffd", "\x00", "ſ", "\U0003134f", "_", "...", "aaaaaaa", "xyxyxyx"]
        )
    ).map("".join),
)  # fmt: skip


@functools.cache
def leads(n=None):
    """Every language takes part, so that the bytes of accents are merged too."""
    return [a.extract for language in ("en", "fr", "es") for a in wikipedia_leads(language)[::60]][:n]


@functools.cache
def trained(size, special=()):
    return fast_bpe.train_fast_bpe(leads(), size, special)


def by_definition(words, n_merges):
    """Merges by counting everything anew each time: {piece: times} as text, without any bookkeeping."""
    words = [(list(piece.encode()), times) for piece, times in words.items()]
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for ids, times in words:
            for pair in itertools.pairwise(ids):
                counts[pair] += times
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for ids, _ in words:
            for i in itertools.count():
                if i + 1 >= len(ids):
                    break
                if (ids[i], ids[i + 1]) == best:
                    ids[i : i + 2] = [256 + len(merges)]
        merges.append(best)
    return tuple(merges)


# Few letters, so that pairs tie and overlap all the time.
dense = st.lists(st.text("ab ", max_size=25) | st.text("aé\n", max_size=12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=300)
@given(texts=dense, n_merges=st.integers(0, 30))
def test_merges_are_those_of_the_definition_and_of_the_engine_ties_included(texts, n_merges):
    if not any(texts):
        with pytest.raises(ValueError, match="nothing to learn merges from"):
            bpe.train_bpe(texts, 300)
        return
    ours = bpe.train_bpe(texts, 256 + n_merges)
    assert ours.merges == by_definition(Counter(p for t in texts for p in pretokenization.pretokenize(t)), n_merges)
    assert fast_bpe.train_fast_bpe(texts, 256 + n_merges, special=()).bpe == ours
    engine = rustbpe.Tokenizer()
    engine.train_from_iterator(texts, 256 + n_merges, pattern=pretokenization.PATTERN)
    assert [bytes(token) for token, _ in engine.get_mergeable_ranks()] == ours.tokens


@pytest.mark.parametrize("size", SIZES)
def test_merges_of_real_text_are_those_of_the_engine(size):
    assert bpe.train_bpe(leads(), size) == trained(size).bpe
    assert trained(size).vocab_size == size


def test_the_first_merges_of_a_known_example():
    """ "aaabdaaabac", the example of the encyclopedia: aa, then aaa and so on, worked out by hand."""
    tokenizer = bpe.train_bpe(["aaabdaaabac"], 259)
    # aa 4 times (overlapping ones count), then aa-a, a-b each 2: 97 98 has the lower ids; then aa-ab.
    assert tokenizer.tokens[256:] == [b"aa", b"ab", b"aaab"]
    assert tokenizer.encode("aaabdaaabac") == [258, 100, 258, 97, 99]


@settings(deadline=None, max_examples=300)
@given(text=texts, size=st.sampled_from(SIZES), special=st.booleans())
def test_any_text_has_the_same_ids_everywhere_and_comes_back(text, size, special):
    fast = trained(size + len(CHAT), CHAT)
    ids = fast.encode(text, special)
    assert ids.dtype == torch.int64
    assert fast.bpe.encode(text, special) == ids.tolist()
    assert fast.decode(ids) == text
    assert fast.decode_bytes(ids.tolist()) == text.encode()
    if special or not any(name in text for name in CHAT):
        theirs = to_hf(size).encode(text, add_special_tokens=False)
        assert theirs.ids == ids.tolist()
    if not special:
        assert max(ids.tolist(), default=0) < size


@functools.cache
def to_hf(size):
    return fast_bpe.to_hf(trained(size + len(CHAT), CHAT).bpe)


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=60) | st.lists(st.binary(max_size=4) | texts.map(str.encode)).map(b"".join))
def test_any_bytes_have_the_same_ids_and_come_back(data):
    fast = trained(1000)
    ids = fast.encode(data)
    assert fast.bpe.encode(data) == ids.tolist()
    assert fast.decode_bytes(ids) == data
    assert fast.decode(ids) == data.decode("utf-8", "replace")


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 999), max_size=20))
def test_any_tokens_decode_as_those_of_tokenizers(ids):
    assert trained(1000).decode(ids) == fast_bpe.to_hf(trained(1000).bpe).decode(ids, skip_special_tokens=False)


def test_real_text_that_was_not_trained_on():
    text = "\n\n".join(a.extract for a in wikipedia_leads()[1::100])
    fast = trained(4096)
    ids = fast.encode(text)
    assert fast.bpe.encode(text) == ids.tolist() == fast_bpe.to_hf(fast.bpe).encode(text).ids
    assert fast.decode(ids) == text
    assert len(ids) < 0.35 * len(text.encode())  # 3.6 characters a token where it learnt, more or less


# Those of GPT-2 (Radford et al. 2019, in the published code), with which tiktoken fails on a million spaces in a row.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@functools.cache
def gpt2():
    """GPT-2's vocabulary as a BPE: its bytes come in another order, and its merges are written in letters."""
    vocab = json.loads((fetch("gpt2-vocabulary") / "encoder.json").read_text(encoding="utf-8"))
    lines = (fetch("gpt2-vocabulary") / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    merges = tuple((vocab[left], vocab[right]) for left, right in (line.split() for line in lines if line))
    alphabet = bytes([*range(33, 127), *range(161, 173), *range(174, 256), *range(33), *range(127, 161), 173])
    return BPE(merges, (END,), GPT2_PATTERN, alphabet)


@settings(deadline=None)
@given(text=texts)
def test_gpt2s_vocabulary_gives_gpt2s_ids(text):
    ids = tokenizers.gpt2_tokenizer().encode(text).ids
    assert gpt2().encode(text, special=True) == ids
    assert gpt2_fast().encode(text, special=True).tolist() == ids
    assert gpt2().decode(ids) == text


@settings(deadline=None)
@given(data=st.binary(max_size=40))
def test_gpt2s_vocabulary_takes_any_bytes(data):
    ids = gpt2_fast().encode(data)
    assert gpt2().encode(data) == ids.tolist()
    assert gpt2_fast().decode_bytes(ids) == data


@functools.cache
def gpt2_fast():
    return FastBPE(gpt2())


def test_gpt2s_vocabulary_survives_saving(tmp_path):
    assert gpt2().vocab_size == 50_257
    assert gpt2().encode("Hello world") == [15496, 995]
    gpt2_fast().save(tmp_path)
    assert FastBPE.load(tmp_path).bpe == gpt2()


@pytest.mark.parametrize("kind", [r"\p{L}", r"\p{N}", r"\s"])
def test_the_engines_agree_about_every_character(kind):
    """The pattern is made of these classes; an engine with newer Unicode tables would cut elsewhere."""
    everything = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    matches = hf.pre_tokenizers.Split(hf.Regex(kind), "removed", invert=True).pre_tokenize_str(everything)
    ours = "".join(match for match, _ in matches)
    # Both encoders leave out what the pattern does not match, so what remains are the characters of the class.
    single_bytes = {bytes([i]): i for i in range(256)}
    theirs = tiktoken.Encoding("classes", pat_str=kind, mergeable_ranks=single_bytes, special_tokens={})
    assert bytes(theirs.encode_ordinary(everything)).decode() == ours
    engine = rustbpe.Tokenizer()
    engine.train_from_iterator(["a"], 256, pattern=kind)
    assert bytes(engine.encode(everything)).decode() == ours


@pytest.mark.parametrize(
    "text", [" " * 1_000_000, " " * 300_000 + "a", "\t \n" * 100_000, "a" * 20_000, "." * 100_000, "你" * 20_000]
)
def test_no_text_is_too_monotonous(text):
    tokenizer = fast_bpe.train_fast_bpe([text, "and more"], 300)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.bpe.encode(text[:5000]) == tokenizer.encode(text[:5000]).tolist()


GPT4_PATTERN = inspect.signature(TikTokenConverter).parameters["pattern"].default  # as transformers has it


@settings(deadline=None, max_examples=300)
@given(text=texts | st.text("a '\r\n\t.5é!sLl", max_size=40))
def test_the_cuts_are_those_of_gpt4(text):
    text = text.replace("ſ", "s")  # which counts as an s in "it's" there; white space is never 64 long here
    assert pretokenization.pretokenize(text) == pretokenization.pretokenize(text, GPT4_PATTERN)


def test_white_space_is_cut_only_where_it_is_long():
    for n in range(1, 64):
        assert pretokenization.pretokenize(" " * n + " a") == [" " * n, " a"]
    assert pretokenization.pretokenize(" " * 70 + "a") == [" " * 64, " " * 5, " a"]
    assert pretokenization.pretokenize("it's 12345\tYES'LL  go!?\n\n x") == [
        "it", "'s", " ", "123", "45", "\tYES", "'LL", " ", " go", "!?\n\n", " x"
    ]  # fmt: skip


def test_saved_and_loaded_by_everyone(tmp_path):
    fast = trained(1000 + len(CHAT), CHAT)
    fast.save(tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert FastBPE.load(tmp_path / "new" / "folder").bpe == fast.bpe

    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
    text = f"naïve  café{END}<|user|>!\n 12345 , isn't it ?"
    assert theirs.encode(text) == fast.encode(text, special=True).tolist()
    assert theirs.decode(theirs.encode(text)) == text
    assert len(theirs) == fast.vocab_size
    assert theirs.eos_token_id == fast.special_id(END) == 1000

    theirs.pad_token = END
    assert theirs(["a", text], padding=True, truncation=True, max_length=5)["input_ids"][0] == [97] + [1000] * 4
    theirs.save_pretrained(tmp_path / "again")  # what transformers writes of it is still the same tokenizer
    assert FastBPE.load(str(tmp_path / "again")).bpe == fast.bpe


@pytest.fixture
def saved(tmp_path):
    trained(300, (END,)).save(tmp_path)
    return tmp_path / "tokenizer.json"


def test_a_file_cut_short_anywhere_is_refused(saved):
    whole = saved.read_bytes()
    for end in range(0, len(whole.rstrip()), 97):
        saved.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"tokenizer\.json cannot be read"):
            FastBPE.load(saved.parent)
    saved.unlink()
    with pytest.raises(DataError, match=r"there is no file .*tokenizer\.json"):
        FastBPE.load(saved.parent)
    saved.mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        FastBPE.load(saved.parent)


DAMAGES = {
    "a merge is gone": lambda f: f["model"]["merges"].pop(),
    "two merges in the wrong order": lambda f: f["model"]["merges"].insert(0, f["model"]["merges"].pop()),
    "a token is gone": lambda f: f["model"]["vocab"].popitem(),
    "another model": lambda f: f["model"].update(type="WordPiece"),
    "dropout": lambda f: f["model"].update(dropout=0.1),
    "a normalizer": lambda f: f.update(normalizer={"type": "Lowercase"}),
    "a post-processor": lambda f: f.update(
        post_processor={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    ),
    "a special token elsewhere": lambda f: f["added_tokens"][0].update(lstrip=True),
    "another way of cutting": lambda f: f.update(pre_tokenizer={"type": "Whitespace"}),
    "a space in front": lambda f: f["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
    "nothing": lambda f: f.clear(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_of_another_kind_is_refused(saved, damage):
    fields = json.loads(saved.read_text(encoding="utf-8"))
    damage(fields)
    saved.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer\.json is damaged, or no byte-level BPE with the settings that"):
        FastBPE.load(saved.parent)


def test_saving_leaves_the_old_file_whole_when_it_fails(tmp_path, monkeypatch):
    trained(300).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_lib.files.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        trained(256).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("train", [bpe.train_bpe, fast_bpe.train_fast_bpe])
def test_training_that_cannot_be(train):
    for nothing in ([], [""], "", iter(["", ""])):
        with pytest.raises(ValueError, match="nothing to learn merges from: the texts are empty"):
            train(nothing, 300)
    with pytest.raises(ValueError, match="vocab_size=257 is too small: 256 bytes and 2 special tokens need 258"):
        train(["text"], 257, ("<a>", "<b>"))
    with pytest.raises(ValueError, match="no token may be there twice, and no special token may be empty"):
        train(["text"], 300, ("<a>", "<a>"))
    with pytest.raises(ValueError, match="no special token may be empty"):
        train(["text"], 300, ("",))
    with pytest.raises(ValueError, match="half a surrogate pair"):
        train(["a", "b\ud800"], 300)
    assert train(["abab"], 9999, ()).vocab_size == 258  # ab, abab: then nothing is left to merge
    assert train("abab", 9999, ()).vocab_size == 258  # one text is no list of letters


@pytest.mark.parametrize("readable", [False, True])
def test_what_is_no_text_and_no_token(readable):
    tokenizer = trained(300, (END,)).bpe if readable else trained(300, (END,))
    with pytest.raises(ValueError, match=r"character 2, '\\udc80', is half a surrogate pair, which is no text"):
        tokenizer.encode("ab\udc80")
    for strange in (-100, -1, 300, 10**12):
        with pytest.raises(ValueError, match=f"token {strange} is not in the vocabulary, which has 300 tokens"):
            tokenizer.decode([97, strange])
        with pytest.raises(ValueError, match=f"token {strange} is not in the vocabulary"):
            tokenizer.decode_bytes(torch.tensor([strange]))
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([240, 159]) == "\ufffd"
    assert len(tokenizer.encode("")) == 0


def test_special_tokens():
    fast = trained(300, (END,))
    assert fast.special_id(END) == 299
    with pytest.raises(ValueError, match=r"no special token '<\|user\|>'; there are: <\|endoftext\|>"):
        fast.special_id("<|user|>")
    assert fast.encode(f"a{END}b", special=True).tolist() == [97, 299, 98]
    assert 299 not in fast.encode(f"a{END}b")
    assert fast.decode([97, 299]) == f"a{END}"


def test_merges_that_no_training_gives_are_refused():
    with pytest.raises(ValueError, match=r"token 256 would be the merge of \(97, 256\), which are not both earlier"):
        BPE(((97, 256),))
    with pytest.raises(ValueError, match="not both earlier"):
        BPE(((-1, 97),))
    with pytest.raises(ValueError, match="no token may be there twice"):
        BPE(((97, 97), (256, 97), (97, 256)))
    with pytest.raises(ValueError, match="each of the 256 bytes once"):
        BPE((), alphabet=bytes(255))
    # "bc" is learnt before "ab", so "ab" + "c" never comes about, and tiktoken would join "a" and "bc" all the same.
    with pytest.raises(ValueError, match="token 258, b'abc', does not encode to itself"):
        FastBPE(BPE(((98, 99), (97, 98), (257, 99))))

"""Constrained decoding: the texts of `re.fullmatch`, in every way to cut them into tokens, and nothing else."""

import itertools
import random
import re
import threading

import pytest
import regex as other_engine
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from llguidance import LLParserLimits

from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.data.tokenizers.fast_bpe import train_fast_bpe
from course_lib.data.tokenizers.pretrained import smollm2_tokenizer
from course_lib.data.tokenizers.token_bytes import token_bytes
from course_lib.infer.constrained import grammar as module
from course_lib.infer.constrained.grammar import TokenGrammar, regex
from course_lib.infer.generation.generate import generate
from course_lib.infer.generation.sampling import Sampling
from course_lib.models import GPT, GPTConfig

BYTES = [bytes([byte]) for byte in range(256)]
END = 256
quick = settings(max_examples=150, deadline=None)

# Characters of one to four bytes, and those at which UTF-8 changes its length.
letters = "ab1_ \n\x7f\x80é߿ࠀ€\ud7ff\ue000￿\U00010000😀\U0010ffff"
leaves = st.sampled_from(
    [*map(re.escape, letters), ".", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[ab]", "[^a]", "[a-é]", "[^é-😀]",
     "[b1é€]", r"[^\W\d]", "", r"[^\s\S]"]
)  # fmt: skip
patterns = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{0,2}", "{1,3}", "{2,}", "{0}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)
texts = st.text(letters, max_size=6)


@st.composite
def pattern_and_text(draw):
    """A pattern with a text that may match it or, half of the time, surely does where any text does."""
    pattern = draw(patterns)
    if draw(st.booleans()):
        return pattern, draw(texts)
    try:
        return pattern, draw(st.from_regex(pattern, fullmatch=True, alphabet=letters))
    except InvalidArgument:  # no text of these letters matches
        return pattern, draw(texts)


def of_pattern(pattern, tokens=(*BYTES, b""), end=None):
    return TokenGrammar(regex(pattern), tokens, [len(tokens) - 1] if end is None else end)


def of_pattern_or_none(pattern):
    try:
        return of_pattern(pattern)
    except ValueError as error:
        assume("llguidance cannot read it" not in str(error))  # a failure of llguidance 1.9, rare and said
        assert "no text of these tokens matches the pattern" in str(error)  # noqa: PT017
        return None


def accepts(grammar, text):
    """Whether the bytes of a text, one by one, are allowed, and then the end is."""
    matcher = grammar.matcher()
    for byte in text.encode() if isinstance(text, str) else text:
        if not matcher.allowed()[byte]:
            return False
        matcher.accept(byte)
    assert matcher.complete == matcher.allowed()[END]
    return matcher.complete


@settings(quick, max_examples=400)
@given(pattern_and_text())
def test_the_texts_of_fullmatch(pair):
    pattern, text = pair
    grammar = of_pattern_or_none(pattern)
    assert (grammar is not None and accepts(grammar, text)) == bool(re.fullmatch(pattern, text))


edges = st.sampled_from(
    [0, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]
)


@settings(quick, max_examples=500)
@given(st.lists(edges, min_size=1, max_size=4).map(bytes) | st.characters(codec="utf-8").map(str.encode))
def test_any_character_is_any_valid_utf8(text):
    """Too long encodings, halves of surrogate pairs and what lies beyond Unicode are none."""
    assert accepts(of_pattern("(?s)."), text) == matches("(?s).", text)


@pytest.mark.parametrize(
    ("pattern", "match", "fail"),
    [
        (r"^a$", "a", "a\n"),  # $ allows a line's end to follow in a search, never in fullmatch
        (r"\Aa|b\Z", "b", "ab"),
        (r"(^a|b$)", "b", "c"),
        (r"(?s).", "\n", ""),
        (r"\d", "٣", "²"),  # an Arabic digit is one for Python, a superscript is not
        (r"a{1000}", "a" * 1000, "a" * 999),
        (r"(a|b)*abb", "babb", "bab"),
        (r"(?:(?:a{0,3}b?){0,3}){2}", "aaabaaabb", "ba" * 12),
        (r"(?P<name>a)+", "aa", ""),
        ("(?:a?)" * 60, "a" * 60, "b"),
        (r"\w\W[\S\n]", "é\u0301\n", "aab"),  # for Python a combining accent is no \w, for Rust it is one
        (r"[^\W\d]", "é", "1"),
        (r"\\d", r"\d", "\\1"),
        ("[a&&b[~~]", "&", "c"),  # in Rust an intersection, and a set within the set
        ("[^a&&b]", "c", "&"),
        ("a/b\n\"'", "a/b\n\"'", "a"),
        ('{"a": [0-9]{1,2}}', '{"a": 12}', '{"a": 123}'),
        ("a{,2}", "aa", "aaa"),
        ("[]a]+", "a]", "b"),
        (r"[\]*+]+", "*+]", "a"),
    ],
)
def test_by_hand(pattern, match, fail):
    assert re.fullmatch(pattern, match)
    assert not re.fullmatch(pattern, fail)
    assert accepts(of_pattern(pattern), match)
    assert not accepts(of_pattern(pattern), fail)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (r"(a)\1", "backreferences are not supported"),
        (r"(a)?(?(1)b|c)", "unrecognized flag"),
        (r"a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(?<!b)a", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(?>a)", "unrecognized flag"),
        (r"a++", "a possessive repeat is not supported"),
        (r"a{2}+", "a possessive repeat is not supported"),
        (r"\ba", "not supported yet; WordUnicode"),
        (r"a^b", "not supported yet; Start"),
        (r"(?:a$)*", "not supported yet; End"),
        (r"(?i)a", "the flag (?i) is not supported"),
        (r"(?m)^a", "the flag (?m) is not supported"),
        (r"(?x) a", "the flag (?x) is not supported"),
        (r"(?a)\w", "the flag (?a) is not supported"),
        (r"(?i:a)", "the flag (?i: is not supported"),
        (r"[!--a]", "-- in a set is not supported"),
        (r"(a", "is not a regular expression: missing )"),
        (r"a{3,2}", "is not a regular expression: min repeat greater than max repeat"),
        (r"[^\s\S]", "no text of these tokens matches the pattern"),
        ("(" * 3000 + ")" * 3000, "is not a regular expression: maximum recursion depth"),
        (r"(\w|\S)|(1|\w|\S)", "llguidance cannot read it; write it in another way"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_is_refused_is_named(pattern, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        of_pattern(pattern)
    assert "\n" not in str(raised.value)


def test_patterns_that_run_wild_end_in_a_sentence(monkeypatch):
    monkeypatch.setattr(module, "LIMITS", LLParserLimits(max_lexer_states=500))
    grammar = of_pattern(r"[ab]*a[ab]{20}")  # 2^20 states, of which only those that are met exist
    draw = random.Random(0)
    with pytest.raises(ValueError, match=r"the grammar proved too large .*too many states.*; make it simpler"):
        accepts(grammar, "".join(draw.choices("ab", k=5000)))


# Every byte that a character needs is a token, so that every beginning can be finished.
pieces = st.lists(st.sampled_from(["ab", "ba", "é", "aé", "bb", "a"]), min_size=1, max_size=4, unique=True)
vocabularies = pieces.map(
    lambda some: [*(piece.encode() for piece in some), *(BYTES[b] for b in b"ab\xc3\xa9"), b"", b""]
)
small_patterns = st.recursive(
    st.sampled_from(["a", "b", "é", "[ab]"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("({0[0]}|{0[1]})".format),
        inner.map("(?:{})*".format),
        inner.map("(?:{}){{1,2}}".format),
    ),
    max_leaves=5,
)


@quick
@given(small_patterns, vocabularies)
def test_exactly_the_cuts_of_matching_texts_into_tokens(pattern, tokens):
    """By enumeration: what can be drawn, and whether anything drawn can be finished."""
    grammar = of_pattern(pattern, tokens)
    n, longest = len(tokens) - 2, 3
    expected = {
        ids
        for length in range(longest + 1)
        for ids in itertools.product(range(n), repeat=length)
        if matches(pattern, b"".join(tokens[i] for i in ids))
    }
    found, open_ends = set(), [()]
    for ids in open_ends:
        matcher = grammar.matcher()
        for token in ids:
            matcher.accept(token)
        allowed = matcher.allowed()
        assert allowed.any(), "a dead end"
        assert not allowed[-2]  # a token without bytes that ends nothing would be drawn for ever
        if allowed[-1]:
            found.add(ids)
        if len(ids) < longest:
            open_ends += [(*ids, i) for i in range(n) if allowed[i]]
    assert found == expected


def matches(pattern, text):
    try:
        return bool(re.fullmatch(pattern, text.decode()))
    except UnicodeDecodeError:
        return False


def test_a_dead_end_is_said():
    """Where a byte is no token, the engine sees only at the dead end that no text goes on from there."""
    tokens = [b"ab", b"c", b"d", b""]
    matcher = of_pattern("abx|c", tokens).matcher()
    with pytest.raises(ValueError, match="token 2 is not allowed here; choose among"):
        matcher.accept(2)
    assert matcher.allowed().tolist() == [True, True, False, False]
    matcher.accept(0)
    assert matcher.allowed().tolist() == [False] * 4, "no end token either: the text does not match"
    with pytest.raises(ValueError, match="no text of these tokens matches the pattern; is it the tokenizer"):
        of_pattern("x", tokens)


def test_end_tokens():
    tokens = [b"a", b"b", b"<end>", b""]
    matcher = of_pattern("a?", tokens, [2, 3]).matcher()
    assert matcher.allowed().tolist() == [True, False, True, True]
    matcher.accept(3)
    assert matcher.complete
    with pytest.raises(ValueError, match="token 2 is not allowed here"):
        of_pattern("a", tokens, [2]).matcher().accept(2)
    for end in ([], [4], [-1]):
        with pytest.raises(ValueError, match="names no end token among 4 tokens"):
            of_pattern("a?", tokens, end)


# No \w or \d, of which the two engines have different tables.
PATTERN = (
    r'\{"name": "[^"\\\n]{1,12}", "age": (0|[1-9][0-9]{0,2}), "tags": \[("[a-zA-Zà-ÿ]{1,5}"(, "[a-z]{1,3}"){0,2})?\]\}'
)


@pytest.mark.parametrize(
    "begun",
    ["", '{"na', '{"name": "', '{"name": "Zoë 你', '{"name": "x", "age": 10', '{"name": "x", "age": 0, "tags": ["'],
)
def test_all_tokens_of_smollm2_as_another_engine_has_them(begun):
    """The `regex` package can say whether a text is the beginning of a match; it knows characters, not bytes."""
    tokenizer = smollm2_tokenizer()
    tokens = token_bytes(tokenizer)
    matcher = of_pattern(PATTERN, tokens, [2]).matcher()
    for token in tokenizer.encode(begun).ids:
        matcher.accept(token)
    allowed = matcher.allowed().tolist()
    assert len(allowed) == 49152
    engine = other_engine.compile(PATTERN)
    checked = 0
    for token, may in zip(tokens, allowed, strict=True):
        try:
            text = begun + token.decode()
        except UnicodeDecodeError:
            continue
        if token:
            assert bool(engine.fullmatch(text, partial=True)) == may, token
            checked += 1
    assert checked > 47_000


@pytest.mark.parametrize("name", ["smollm2", "course"])
def test_drawn_texts_match_and_texts_that_match_can_be_drawn(name):
    tokenizer = (
        smollm2_tokenizer() if name == "smollm2" else train_fast_bpe(["Zoë and Zoe, aged 7 and 42, tag cats."] * 9, 300)
    )
    tokens = token_bytes(tokenizer, 50_000)
    end = len(tokens) - 1
    grammar = of_pattern(PATTERN, tokens, [end])
    draw = random.Random(0)
    for _ in range(20):
        matcher, ids = grammar.matcher(), []
        while (token := draw.choice(matcher.allowed().nonzero().flatten().tolist())) != end:
            matcher.accept(token)
            ids.append(token)
        assert re.fullmatch(PATTERN, b"".join(tokens[i] for i in ids).decode())
    text = '{"name": "Zoë 你好 😀", "age": 42, "tags": ["Zoë", "cat"]}'
    encoded = tokenizer.encode(text)
    matcher = grammar.matcher()
    for token in encoded.ids if name == "smollm2" else encoded.tolist():
        matcher.accept(token)
    assert matcher.allowed()[end]


def test_characters_as_tokens():
    tokenizer = CharTokenizer.from_text("abé1 ")
    allowed = of_pattern("(a|é)+1?", [*token_bytes(tokenizer), b""], [5]).matcher().allowed()
    assert {tokenizer.characters[i] for i in allowed[:5].nonzero().flatten().tolist()} == {"a", "é"}


def test_a_model_writes_what_it_may():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=260, d_model=16, n_layers=1, n_heads=2, context=64)).eval()
    grammar = of_pattern(r"(yes|no|né{1,3})!?", [*BYTES, b"", b"yes", b"no!", b""], [256])
    written = [[], [], []]
    steps = generate(model, [[1], [2, 3], [4]], 20, Sampling(temperature=5), stop_token_ids=[256], grammar=grammar)
    for step in steps:
        for row, token in zip(written, step, strict=True):
            row += [] if token is None else [token]
    tokens = [*BYTES[:256], b"", b"yes", b"no!"]
    texts = {b"".join(tokens[i] for i in row).decode() for row in written}
    assert all(row[-1] == 256 for row in written)
    assert all(re.fullmatch(r"(yes|no|né{1,3})!?", text) for text in texts)
    free = next(iter(generate(model, [[1], [2, 3], [4]], 20, Sampling(temperature=5))))
    assert not set(free) <= set(b"yn") | {257, 258}  # the control: left alone it writes anything


def test_threads_share_a_grammar():
    shared = of_pattern(r"(\w+ )*[^ab]{40}!")
    failures = []

    def walk(seed):
        draw, mine, own = random.Random(seed), shared.matcher(), of_pattern(r"(\w+ )*[^ab]{40}!").matcher()
        for _ in range(60):
            allowed = mine.allowed()
            if not torch.equal(allowed, own.allowed()):
                failures.append(seed)
                return
            token = draw.choice(allowed.nonzero().flatten().tolist())
            mine.accept(token)
            own.accept(token)

    threads = [threading.Thread(target=walk, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures

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

from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.data.tokenizers.fast_bpe import train_fast_bpe
from course_lib.data.tokenizers.pretrained import smollm2_tokenizer
from course_lib.data.tokenizers.token_bytes import token_bytes
from course_lib.infer.constrained import automaton as automata
from course_lib.infer.constrained.constrain import regular
from course_lib.infer.constrained.vocabulary import Vocabulary
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


def constraint_or_none(pattern, tokens=(*BYTES, b"")):
    try:
        return regular(pattern, tokens, [len(tokens) - 1])
    except ValueError as error:
        if "no text of these tokens matches the pattern" not in str(error):
            raise
        return None


def accepts(constraint, text):
    """Whether the bytes of a text, one by one, are allowed, and then the end is."""
    state = constraint.start
    for byte in text.encode():
        if not constraint.allowed(state)[byte]:
            return False
        state = constraint.next(state, byte)
    assert constraint.complete(state) == constraint.allowed(state)[END]
    return constraint.complete(state)


@settings(quick, max_examples=400)
@given(pattern_and_text())
def test_the_texts_of_fullmatch(pair):
    pattern, text = pair
    constraint = constraint_or_none(pattern)
    assert (constraint is not None and accepts(constraint, text)) == bool(re.fullmatch(pattern, text))


edges = st.sampled_from(
    [0, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]
)


@settings(quick, max_examples=500)
@given(st.lists(edges, min_size=1, max_size=4).map(bytes) | st.characters(codec="utf-8").map(str.encode))
def test_any_character_is_any_valid_utf8(text):
    """Too long encodings, halves of surrogate pairs and what lies beyond Unicode are none."""
    constraint = regular("(?s).", [*BYTES, b""], [END])
    state = constraint._automaton.step(constraint.start, text)
    assert constraint.complete(state) == matches("(?s).", text)


@pytest.mark.parametrize(
    ("pattern", "match", "fail"),
    [
        (r"^a$", "a", "a\n"),  # $ allows a line's end to follow in a search, never in fullmatch
        (r"\Aa|b\Z", "b", "ab"),
        (r"(^a|b$)", "b", "c"),
        (r"(?s).", "\n", ""),
        (r"(?a)\w\d", "a1", "é1"),
        (r"\d", "٣", "²"),  # an Arabic digit is one for Python, a superscript is not
        (r"(?x) a b # comment", "ab", "a b"),
        (r"a{1000}", "a" * 1000, "a" * 999),
        (r"(a|b)*abb", "babb", "bab"),
        (r"(?:(?:a{0,3}b?){0,3}){2}", "aaabaaabb", "ba" * 12),
        (r"(?P<name>a)+", "aa", ""),
        ("(?:a?)" * 60, "a" * 60, "b"),
    ],
)
def test_by_hand(pattern, match, fail):
    assert re.fullmatch(pattern, match)
    assert not re.fullmatch(pattern, fail)
    assert accepts(regular(pattern, [*BYTES, b""], [END]), match)
    assert not accepts(regular(pattern, [*BYTES, b""], [END]), fail)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (r"(a)\1", "a back reference is not supported"),
        (r"(a)?(?(1)b|c)", "a conditional group is not supported"),
        (r"a(?=b)", "look-around is not supported"),
        (r"(?<!b)a", "look-around is not supported"),
        (r"(?>a)", "an atomic group is not supported"),
        (r"a++", "a possessive repeat is not supported"),
        (r"\ba", r"the word boundary \b is not supported"),
        (r"a^b", "^ elsewhere than at the beginning is not supported"),
        (r"(?:a$)*", "$ elsewhere than at the end is not supported"),
        (r"(?i)a", "re.IGNORECASE is not supported"),
        (r"(?m)^a", "re.MULTILINE is not supported"),
        (r"(?i:a)", "flags within a group are not supported"),
        (r"a{2000000}", "more than 1048576 times"),
        (r"(a", "is not a regular expression: missing )"),
        (r"a{3,2}", "is not a regular expression: min repeat greater than max repeat"),
        (r"[^\s\S]", "no text of these tokens matches the pattern"),
        ("(" * 3000 + ")" * 3000, "too many groups within groups"),
    ],
)
def test_what_is_refused_is_named(pattern, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        regular(pattern, [*BYTES, b""], [END])


def test_patterns_that_run_wild_end_in_a_sentence(monkeypatch):
    monkeypatch.setattr(automata, "MOST_STATES", 500)
    constraint = regular(r"[ab]*a[ab]{20}", [*BYTES, b""], [END])  # 2^20 states, of which only those that are met exist
    draw = random.Random(0)
    with pytest.raises(ValueError, match="needs more than 500 states; make it simpler"):
        accepts(constraint, "".join(draw.choices("ab", k=5000)))


# Vocabularies with the bytes of characters as tokens, and without: then some beginnings can never be finished.
pieces = st.lists(st.sampled_from(["a", "b", "ab", "ba", "é", "aé", "bb"]), min_size=1, max_size=4, unique=True)
vocabularies = st.tuples(pieces, st.booleans()).map(
    lambda pair: [*(piece.encode() for piece in pair[0]), *(BYTES[b] for b in b"ab\xc3\xa9" if pair[1]), b"", b""]
)
small_patterns = st.recursive(
    st.sampled_from(["a", "b", "é", "[ab]", "[^a]", "."]),
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
    constraint = constraint_or_none(pattern, tokens)
    n, longest = len(tokens) - 2, 4
    expected = {
        ids
        for length in range(longest + 1)
        for ids in itertools.product(range(n), repeat=length)
        if matches(pattern, b"".join(tokens[i] for i in ids))
    }
    if constraint is None:
        assert not expected
        return
    found, open_ends = set(), [((), constraint.start)]
    for ids, state in open_ends:
        allowed = constraint.allowed(state)
        assert allowed.any(), "a dead end"
        assert not allowed[-2]  # a token without bytes that ends nothing would be drawn for ever
        if allowed[-1]:
            found.add(ids)
        if len(ids) < longest:
            open_ends += [((*ids, i), constraint.next(state, i)) for i in range(n) if allowed[i]]
    assert found == expected


def matches(pattern, text):
    try:
        return bool(re.fullmatch(pattern, text.decode()))
    except UnicodeDecodeError:
        return False


def test_no_way_that_tokens_cannot_finish():
    tokens = [b"ab", b"c", b"d", b""]
    constraint = regular("a|abc|cab?x|dd*", tokens, [3])
    assert constraint.allowed(constraint.start).tolist() == [True, False, True, False]  # of c, ca cannot follow
    after = constraint.next(constraint.start, 0)
    assert constraint.allowed(after).tolist() == [False, True, False, False]  # "ab" itself is no match
    with pytest.raises(ValueError, match="token 1, b'c', is not allowed here"):
        constraint.next(constraint.start, 1)
    with pytest.raises(ValueError, match="no text of these tokens matches the pattern; is it the tokenizer"):
        regular("a|x", tokens, [3])


def test_end_tokens():
    constraint = regular("a?", [b"a", b"b", b"<end>", b""], [2, 3])
    assert constraint.allowed(constraint.start).tolist() == [True, False, True, True]
    assert constraint.next(constraint.start, 3) == constraint.start
    with pytest.raises(ValueError, match="token 2, b'', is not allowed here"):
        regular("a", [b"a", b"b", b"<end>"], [2]).next(constraint.start, 2)
    for end in ([], [4], [-1]):
        with pytest.raises(ValueError, match="must name at least one token of the vocabulary, which has 4 tokens"):
            regular("a?", [b"a", b"b", b"<end>", b""], end)


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
    constraint = regular(PATTERN, tokens, [2])
    state = constraint.start
    for token in tokenizer.encode(begun).ids:
        state = constraint.next(state, token)
    allowed = constraint.allowed(state).tolist()
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
    constraint = regular(PATTERN, tokens, [end])
    draw = random.Random(0)
    for _ in range(20):
        state, ids = constraint.start, []
        while (token := draw.choice(constraint.allowed(state).nonzero().flatten().tolist())) != end:
            state = constraint.next(state, token)
            ids.append(token)
        assert re.fullmatch(PATTERN, b"".join(tokens[i] for i in ids).decode())
    text = '{"name": "Zoë 你好 😀", "age": 42, "tags": ["Zoë", "cat"]}'
    encoded = tokenizer.encode(text)
    state = constraint.start
    for token in encoded.ids if name == "smollm2" else encoded.tolist():
        assert constraint.allowed(state)[token]
        state = constraint.next(state, token)
    assert constraint.allowed(state)[end]


def test_characters_as_tokens():
    tokenizer = CharTokenizer.from_text("abé1 ")
    constraint = regular("(a|é)+1?|x", [*token_bytes(tokenizer), b""], [5])
    allowed = constraint.allowed(constraint.start)
    assert {tokenizer.characters[i] for i in allowed[:5].nonzero().flatten().tolist()} == {"a", "é"}


@quick
@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), patterns)
def test_a_whole_vocabulary_at_once_is_token_by_token(tokens, pattern):
    constraint = constraint_or_none(pattern)
    assume(constraint is not None)
    machine = constraint._automaton
    together = Vocabulary(tokens).states(machine, constraint.start).tolist()
    assert together == [machine.step(constraint.start, token) if token else automata.DEAD for token in tokens]


def test_a_model_writes_what_it_may():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=260, d_model=16, n_layers=1, n_heads=2, context=64)).eval()
    constraint = regular(r"(yes|no|né{1,3})!?", [*BYTES, b"", b"yes", b"no!", b""], [256])
    written = [[], [], []]
    steps = generate(model, [[1], [2, 3], [4]], 20, Sampling(temperature=5), stop=[256], constraint=constraint)
    for step in steps:
        for row, token in zip(written, step, strict=True):
            row += [] if token is None else [token]
    tokens = [*BYTES[:256], b"", b"yes", b"no!"]
    texts = {b"".join(tokens[i] for i in row).decode() for row in written}
    assert all(row[-1] == 256 for row in written)
    assert all(re.fullmatch(r"(yes|no|né{1,3})!?", text) for text in texts)
    free = next(iter(generate(model, [[1], [2, 3], [4]], 20, Sampling(temperature=5))))
    assert not set(free) <= set(b"yn") | {257, 258}  # the control: left alone it writes anything


def test_threads_share_a_constraint():
    tokens = [*BYTES, b"ab", b""]
    expected = regular(r"(\w+ )*[^ab]{40}!", tokens, [257])
    shared = regular(r"(?:(\w+ )*[^ab]{40}!)", tokens, [257])
    failures = []

    def walk(seed):
        draw, mine, theirs = random.Random(seed), shared.start, expected.start
        for _ in range(60):
            allowed = shared.allowed(mine)
            with lock:
                same = torch.equal(allowed, expected.allowed(theirs))
            if not same:
                failures.append(seed)
                return
            token = draw.choice(allowed.nonzero().flatten().tolist())
            with lock:
                theirs = expected.next(theirs, token)
            mine = shared.next(mine, token)

    lock = threading.Lock()
    threads = [threading.Thread(target=walk, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures

"""Constrained decoding: before each token, llguidance says which tokens may come next.

A grammar is made of a regular expression (`regex`), of a JSON Schema (`json_schema`), or of functions that may be
called (`tool_calls`). `Grammar` binds it to the tokens of a model, and gives each text that is written a `Matcher`.
Source: Willard and Louf 2023, "Efficient Guided Generation for Large Language Models", for the idea; llguidance for
the engine, which also reads context-free grammars and computes a mask of 50,000 tokens in well under a millisecond.
"""

from __future__ import annotations

import functools
import json
import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, regex_to_lark
from torch import Tensor

from course_lib.errors import GenerationError

BYTES = (*(bytes([byte]) for byte in range(256)), b"")  # of which every text is made, and an end token
# Otherwise, where the grammar leaves one text only, just one way to cut it into tokens would be allowed.
HEADER = '%llguidance {"no_forcing": true}\n'

# One space may follow a comma and a colon: models have learned both ways. No \u0061 in the place of a letter, since
# a property of that name would not be recognised.
JSON_OPTIONS = {
    "whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "json_allowed_escapes": '"\\bfnrt',
    "lenient": False, "coerce_one_of": False,
}  # fmt: skip
LIMITS = LLParserLimits()  # of llguidance: 250,000 states of about 1 KB
NAMED_SCHEMAS = {"properties", "patternProperties", "$defs", "definitions"}
INNER_SCHEMAS = {"items", "prefixItems", "additionalProperties", "allOf", "anyOf", "oneOf"}
BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
LARGEST_BOUND = 2**53  # llguidance keeps bounds as doubles, which are exact up to here


class Grammar:
    """What a text may be, in the tokens of one model.

    Args:
        source: a grammar as `regex`, `json_schema` and `tool_calls` make it (Lark, as llguidance reads it).
        tokens: the bytes of every token, from `tokenizers.token_bytes`.
        end: ids of the tokens that end a text.

    Raises:
        GenerationError: for no end token, a grammar that cannot be read, and one that no text of these tokens matches.
    """

    def __init__(self, source: str, tokens: Sequence[bytes], end: Collection[int]) -> None:
        if not end or not all(0 <= token < len(tokens) for token in end):
            raise GenerationError(
                f"end={list(end)} names no end token among {len(tokens)} tokens, with which a text of a given form has "
                "to end; put eos_token_id into the model's generation_config.json"
            )
        self.end = frozenset(end)
        self.vocab_size = len(tokens)
        self._start = LLMatcher(_ll_tokenizer(tuple(tokens), self.end), source, log_level=0, limits=LIMITS)
        if self._start.is_error():
            raise GenerationError(f"the grammar cannot be used: {_reason(self._start.get_error())}")
        if not self.matcher().allowed().any():
            raise GenerationError("no text of these tokens matches the pattern; is it the tokenizer of the model?")

    def matcher(self) -> Matcher:
        """A matcher at the beginning of a text."""
        return Matcher(self._start.deep_copy(), self.vocab_size, self.end)


class Matcher:
    """Follows one text, token by token."""

    def __init__(self, matcher: LLMatcher, vocab_size: int, end: frozenset[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._end = sorted(end)

    @property
    def complete(self) -> bool:
        """Whether the text so far matches the grammar."""
        return self._matcher.is_accepting()

    def allowed(self) -> Bool[Tensor, " vocab"]:
        """True for the tokens that may come next; end tokens exactly where the text so far matches.

        Raises:
            GenerationError: for a grammar that grew too large on the way.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little")[: self._vocab_size].astype(bool))
        self._check()
        allowed[self._end] = self.complete
        return allowed

    def accept(self, token: int) -> None:
        """Go on by one token.

        Raises:
            GenerationError: for a token that is not allowed.
        """
        if not (self.complete if token in self._end else self._matcher.validate_tokens([token])):
            raise GenerationError(f"token {token} is not allowed here; choose among allowed()")
        if token not in self._end:
            self._matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        error = self._matcher.get_error()
        if error and not error.startswith("NoExtension"):  # that is a dead end, where no token is allowed
            raise GenerationError(f"the grammar proved too large ({_reason(error)}); make it simpler or shorter")


def regex(pattern: str) -> str:
    """The grammar of the texts that `re.fullmatch(pattern, text)` accepts.

    Raises:
        GenerationError: for what is not a regular expression, and what llguidance does not support: look-around, back
            references, word boundaries, flags other than (?s), conditional and atomic groups, possessive repeats.
    """
    return _checked(f"start: {_regex_terminal(pattern)}", f"the pattern {_shortened(pattern)} cannot be used")


def json_schema(schema: Any) -> str:
    """The grammar of JSON texts that a schema accepts.

    Properties come in the schema's order. Those that it does not list are written only where it says what they are, or
    where it cannot be satisfied without them. Of control characters only \\n, \\t, \\r, \\b and \\f are written. In a
    `pattern`, \\d and \\w are ASCII's, as in ECMA-262.

    Args:
        schema: as `json.loads` gives it.

    Raises:
        GenerationError: for a keyword that llguidance does not support, for a schema that no text can satisfy, and for
            what is no schema.
    """
    return _checked(f"start: {_json_rule(schema)}", "the schema cannot be used")


def tool_calls(calls: Mapping[str, Any], tail: str, or_text: bool) -> str:
    """The grammar of a call of a function: one of the beginnings, the JSON of its arguments, and the tail.

    Args:
        calls: the beginning of each call, and the JSON Schema of the arguments that follow it.
        tail: what closes a call.
        or_text: whether any text that does not begin as a call does may come in its place.
    """
    rules = [f"{_quoted(head)} {_json_rule(schema)} {_quoted(tail)}" for head, schema in calls.items()]
    if or_text:
        first = re.escape(next(iter(calls))[0])
        rules.append(_regex_terminal(rf"(?:[^ \n{first}](?:.|\n)*)?"))  # nor as a call behind a space
    return _checked("start: " + " | ".join(rules), "the functions cannot be offered")


def _checked(rules: str, trouble: str) -> str:
    if problem := _problem(rules):
        raise GenerationError(f"{trouble}: {problem}")
    return HEADER + rules


def _problem(rules: str) -> str:
    """What is wrong with a grammar, in words; empty if nothing."""
    error = LLMatcher(_ll_tokenizer(BYTES, frozenset({256})), HEADER + rules, log_level=0).get_error()
    if error.startswith("panic"):  # llguidance 1.9 fails on (\w|\S)|(1|\w|\S), and says so in its own way
        return "llguidance cannot read it; write it in another way"
    return _reason(error) if error else ""


# Regular expressions


PIECES = re.compile(
    r"""
    (?P<escape> \\. ) |
    (?P<set> \[ \^? \]? (?: \\. | [^\]\\] )* \] ) |
    (?P<flags> \(\? [a-zA-Z-]+ [:)] ) |
    (?P<possessive> [*+?]\+ | \{[\d,]+\}\+ ) |
    (?P<repeat> \{\d+(,\d*)?\} | \{,\d*\} ) |
    (?P<brace> \{ )
    """,
    re.DOTALL | re.VERBOSE,
)


def _regex_terminal(pattern: str) -> str:
    """A pattern of Python's `re` as a terminal of Lark, where Rust's syntax and its tables of characters hold."""
    return f"/{regex_to_lark(_rust_regex(pattern, unicode=True), use_ascii='')}/"


def _rust_regex(pattern: str, unicode: bool) -> str:
    r"""A pattern in Rust's syntax. unicode: \d, \w, \s and their opposites mean what they mean in Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of sets within sets, which are escaped here
            re.compile(pattern)
        pattern.encode()
    except (re.error, RecursionError, OverflowError, UnicodeEncodeError) as error:
        raise GenerationError(f"{_shortened(pattern)} is not a regular expression: {error}") from None

    def in_rust(match: re.Match[str]) -> str:
        text = match[0]
        match match.lastgroup:
            case "escape":
                return _rust_escape(text) if unicode else text
            case "set" if "--" not in text:  # Rust has sets within sets, and operations on them: &&, ~~ and --
                members = re.sub(r"(?s)\\.|[\[&~]", lambda m: m[0] if m[0][0] == "\\" else "\\" + m[0], text[1:])
                return "[" + (re.sub(r"(?s)\\.", lambda m: _rust_escape(m[0]), members) if unicode else members)
            case "flags" if set(text[2:-1]) <= {"s", "-"}:
                return text
            case "repeat":
                return text.replace("{,", "{0,")
            case "brace":
                return r"\{"
        found = {"set": "-- in a set", "flags": f"the flag {text}", "possessive": "a possessive repeat"}
        what = found[str(match.lastgroup)]
        raise GenerationError(f"the pattern {_shortened(pattern)} cannot be used: {what} is not supported")

    return PIECES.sub(in_rust, pattern)


def _rust_escape(text: str) -> str:
    if text == r"\Z":
        return r"\z"
    return _characters(text) if text[1] in "dDwWsS" else text


@functools.cache
def _characters(escape: str) -> str:
    """All characters that an escape such as \\w stands for in Python, as a class."""
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    runs = re.findall(f"{escape}+", everything)
    return "[" + "".join(f"\\U{ord(run[0]):08X}-\\U{ord(run[-1]):08X}" for run in runs) + "]"


# JSON Schema


def _json_rule(schema: Any) -> str:
    if isinstance(schema, bool):
        if not schema:
            raise GenerationError("no text can satisfy the schema: it is false")
        schema = {}
    if not isinstance(schema, dict):
        raise GenerationError(f"a JSON Schema must be an object, not a {type(schema).__name__}")
    # First with no properties but those listed; where nothing satisfies that, as the schema has it.
    trouble = ""
    for closed in (True, False):
        try:
            rule = f"%json {_as_json({**_adapted(schema, schema, closed), 'x-guidance': JSON_OPTIONS})}"
        except RecursionError:
            raise GenerationError("the schema is nested too deeply; make it flatter") from None
        trouble = _problem(f"start: {rule}")
        if not trouble:
            return rule
    if "Unsatisfiable schema: " in trouble:
        raise GenerationError(f"no text can satisfy the schema: {trouble.partition('Unsatisfiable schema: ')[2]}")
    raise GenerationError(f"the schema cannot be used: {trouble}")


def _as_json(schema: Any) -> str:
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        text.encode()
        return text
    except (ValueError, TypeError) as error:
        raise GenerationError(f"the schema cannot be written as JSON: {error}") from None


def _adapted(schema: Any, document: Mapping[str, Any], closed: bool) -> Any:
    """A schema as llguidance reads it: patterns in Rust's syntax, alternatives in full; closed to other properties."""
    if isinstance(schema, list):
        return [_adapted(each, document, closed) for each in schema]
    if not isinstance(schema, dict):
        return schema
    adapted = {}
    for name, value in schema.items():
        if name in NAMED_SCHEMAS and isinstance(value, dict):
            value = {key: _adapted(each, document, closed) for key, each in value.items()}
            if name == "patternProperties":
                value = {_rust_regex(key, unicode=False): each for key, each in value.items()}
        elif name in INNER_SCHEMAS:
            if name == "oneOf" and isinstance(value, list):  # whether they exclude each other is seen in them alone
                value = [_target(each, document) for each in value]
            value = _adapted(value, document, closed)
        elif name == "pattern" and isinstance(value, str):
            value = _rust_regex(value, unicode=False)
        elif name in BOUNDS and isinstance(value, int | float) and abs(value) > LARGEST_BOUND:
            raise GenerationError(f"the schema cannot be used: {name} beyond 2^53 is not supported")
        if name in BOUNDS | {"enum", "const"} and (strange := _not_written(value)):
            raise GenerationError(f"the schema cannot be used: {strange} in {name} is not supported")
        adapted[name] = value
    if closed and "properties" in schema and not {"additionalProperties", "patternProperties"} & schema.keys():
        adapted["additionalProperties"] = False
    return adapted


def _not_written(value: Any) -> str:
    """What of a constant llguidance would write as something else, or nothing: in words, or empty."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return next(filter(None, map(_not_written, value)), "")
    if isinstance(value, str) and any(char < " " and char not in "\n\t\r\b\f" for char in value):
        return "a control character"
    # llguidance reads a decimal as an integer times a power of ten, which is exact for 15 digits and powers to 22.
    exact = True
    if isinstance(value, float) and math.isfinite(value):
        _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
        exact = len(digits) <= 15 and abs(int(exponent)) <= 22
    if not exact or (isinstance(value, int) and abs(value) > LARGEST_BOUND):
        return "a number of more than 15 digits or an exponent beyond 22"
    return ""


def _target(schema: Any, document: Mapping[str, Any]) -> Any:
    """What a schema that is only a reference, such as `#/$defs/point`, points to; any other schema itself."""
    ref = schema.get("$ref") if isinstance(schema, dict) and len(schema) == 1 else None
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return schema
    found: Any = document
    for name in ref.removeprefix("#/").split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return schema if found is None else found


# llguidance


class _Tokens:
    """What llguidance asks of a tokenizer; it need not encode, since no text is forced."""

    eos_token_id = 0  # in its place come all end tokens
    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tokens

    def __call__(self, text: bytes) -> list[int]:
        return []


@functools.lru_cache(maxsize=4)
def _ll_tokenizer(tokens: tuple[bytes, ...], end: frozenset[int]) -> LLTokenizer:
    written = [b"" if i in end else token for i, token in enumerate(tokens)]
    return LLTokenizer(TokenizerWrapper(_Tokens(written)), n_vocab=len(tokens), eos_token=sorted(end))


def _reason(message: str) -> str:
    """What is wrong, without the places in the grammar, of which the user has seen nothing."""
    error = message.rpartition("error: ")[2].strip().splitlines()[0]
    error = re.sub(r"^at \d+\(\d+\): (failed to compile JSON schema: |invalid regex .* \(in regex\): )?", "", error)
    if error.startswith("oneOf constraints"):
        return "oneOf of alternatives that may overlap is not supported; use anyOf, or tell them apart by a constant"
    return error


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _shortened(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:60] + "...")

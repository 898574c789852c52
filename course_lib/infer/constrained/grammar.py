"""Constrained decoding: before each token, llguidance says which tokens may come next.

A grammar is made from a regular expression (`regex`), from a JSON Schema (`json_schema`), or from the functions that
may be called (`tool_calls`). `TokenGrammar` binds it to a model's tokens, and makes a `TokenMatcher` for each text.

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

BYTES = (*(bytes([byte]) for byte in range(256)), b"")  # every text consists of these; and an end token
# Without it, where the grammar allows one text only, just one way to cut that text into tokens would be allowed.
HEADER = '%llguidance {"no_forcing": true}\n'

# One space may follow a comma and a colon: models have learned both ways. A letter may not be written as \u0061, since
# a property name written so would not be recognised.
JSON_OPTIONS = {
    "whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "json_allowed_escapes": '"\\bfnrt',
    "lenient": False, "coerce_one_of": False,
}  # fmt: skip
LIMITS = LLParserLimits()  # llguidance's own: 250,000 states of about 1 KB
NAMED_SCHEMAS = {"properties", "patternProperties", "$defs", "definitions"}
INNER_SCHEMAS = {"items", "prefixItems", "additionalProperties", "allOf", "anyOf", "oneOf"}
BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
LARGEST_BOUND = 2**53  # llguidance keeps bounds as doubles, which are exact up to here


class TokenGrammar:
    """The texts that one model may write, as a grammar over its tokens.

    Args:
        source: A grammar from `regex`, `json_schema` or `tool_calls` (Lark, as llguidance reads it).
        tokens: The bytes of every token, from `tokenizers.token_bytes`.
        end: The ids of the tokens that end a text.

    Raises:
        GenerationError: If there is no end token, the grammar cannot be read, or no text of these tokens matches it.
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

    def matcher(self) -> TokenMatcher:
        """Return a matcher at the beginning of a text."""
        return TokenMatcher(self._start.deep_copy(), self.vocab_size, self.end)


class TokenMatcher:
    """The state of the grammar in one text, updated token by token."""

    def __init__(self, matcher: LLMatcher, vocab_size: int, end: frozenset[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._end = sorted(end)

    @property
    def complete(self) -> bool:
        """Whether the text so far matches the grammar."""
        return self._matcher.is_accepting()

    def allowed(self) -> Bool[Tensor, " vocab"]:
        """Return a mask that is True for the tokens that may come next.

        End tokens are allowed exactly where the text so far matches.

        Raises:
            GenerationError: If the grammar has grown too large on the way.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = torch.from_numpy(np.unpackbits(bits, bitorder="little")[: self._vocab_size].astype(bool))
        self._check()
        allowed[self._end] = self.complete
        return allowed

    def accept(self, token: int) -> None:
        """Advance by one token.

        Raises:
            GenerationError: If the token is not allowed.
        """
        if not (self.complete if token in self._end else self._matcher.validate_tokens([token])):
            raise GenerationError(f"token {token} is not allowed here; choose among allowed()")
        if token not in self._end:
            self._matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        error = self._matcher.get_error()
        if error and not error.startswith("NoExtension"):  # that one is a dead end: no token is allowed
            raise GenerationError(f"the grammar proved too large ({_reason(error)}); make it simpler or shorter")


def regex(pattern: str) -> str:
    """Return the grammar of the texts that `re.fullmatch(pattern, text)` accepts.

    Raises:
        GenerationError: If the pattern is not a regular expression, or uses what llguidance does not support:
            look-around, back references, word boundaries, flags other than (?s), conditional and atomic groups,
            possessive repeats.
    """
    return _checked(f"start: {_regex_terminal(pattern)}", f"the pattern {_shortened(pattern)} cannot be used")


def json_schema(schema: Any) -> str:
    """Return the grammar of the JSON texts that a schema accepts.

    Properties are written in the schema's order. A property that the schema does not list is written only where the
    schema describes such properties, or where it cannot be satisfied without them. The only control characters written
    are \\n, \\t, \\r, \\b and \\f. In a `pattern`, \\d and \\w match ASCII only, as in ECMA-262.

    Args:
        schema: The schema as `json.loads` returns it.

    Raises:
        GenerationError: If this is not a JSON Schema, uses a keyword that llguidance does not support, or cannot be
            satisfied by any text.
    """
    return _checked(f"start: {_json_rule(schema)}", "the schema cannot be used")


def tool_calls(calls: Mapping[str, Any], tail: str, or_text: bool) -> str:
    """Return the grammar of a function call: one of the beginnings, the arguments as JSON, and the tail.

    Args:
        calls: The JSON Schema of the arguments, by the beginning of the call that they follow.
        tail: The text that closes a call.
        or_text: Whether any text that does not begin like a call is allowed instead.
    """
    rules = [f"{_quoted(head)} {_json_rule(schema)} {_quoted(tail)}" for head, schema in calls.items()]
    if or_text:
        first = re.escape(next(iter(calls))[0])
        rules.append(_regex_terminal(rf"(?:[^ \n{first}](?:.|\n)*)?"))  # nor like a call after a space
    return _checked("start: " + " | ".join(rules), "the functions cannot be offered")


def _checked(rules: str, trouble: str) -> str:
    if problem := _problem(rules):
        raise GenerationError(f"{trouble}: {problem}")
    return HEADER + rules


def _problem(rules: str) -> str:
    """Return what is wrong with a grammar, in words; empty if nothing is."""
    error = LLMatcher(_ll_tokenizer(BYTES, frozenset({256})), HEADER + rules, log_level=0).get_error()
    if error.startswith("panic"):  # llguidance 1.9 panics on (\w|\S)|(1|\w|\S), with a message of its own
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
    """Turn a pattern of Python's `re` into a terminal of Lark, which uses Rust's syntax and character tables."""
    return f"/{regex_to_lark(_rust_regex(pattern, unicode=True), use_ascii='')}/"


def _rust_regex(pattern: str, unicode: bool) -> str:
    r"""Turn a pattern into Rust syntax; with `unicode`, \d, \w, \s and their opposites mean what they do in Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about nested sets, which are escaped
            re.compile(pattern)
        pattern.encode()
    except (re.error, RecursionError, OverflowError, UnicodeEncodeError) as error:
        raise GenerationError(f"{_shortened(pattern)} is not a regular expression: {error}") from None

    def in_rust(match: re.Match[str]) -> str:
        text = match[0]
        match match.lastgroup:
            case "escape":
                return _rust_escape(text) if unicode else text
            case "set" if "--" not in text:  # Rust has nested sets, and operations on them: &&, ~~ and --
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
    """Return all characters that an escape such as \\w stands for in Python, as a character class."""
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
    # First without properties that are not listed; if nothing satisfies that, as the schema says.
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
    """Rewrite a schema for llguidance: patterns in Rust's syntax, alternatives in full; closed to other properties."""
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
            if name == "oneOf" and isinstance(value, list):  # whether they exclude each other is decided on them alone
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
    """Return the part of a constant that llguidance would write wrongly or not at all, in words; empty if none."""
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
    """Follow a schema that is only a reference, such as `#/$defs/point`, to its target; return any other as it is."""
    ref = schema.get("$ref") if isinstance(schema, dict) and len(schema) == 1 else None
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return schema
    found: Any = document
    for name in ref.removeprefix("#/").split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return schema if found is None else found


# llguidance


class _Tokens:
    """The tokenizer interface that llguidance asks for; it need not encode, since no text is forced."""

    eos_token_id = 0  # stands for all end tokens
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
    """Return llguidance's error without the positions in the grammar, which the user never sees."""
    error = message.rpartition("error: ")[2].strip().splitlines()[0]
    error = re.sub(r"^at \d+\(\d+\): (failed to compile JSON schema: |invalid regex .* \(in regex\): )?", "", error)
    if error.startswith("oneOf constraints"):
        return "oneOf of alternatives that may overlap is not supported; use anyOf, or tell them apart by a constant"
    return error


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _shortened(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:60] + "...")

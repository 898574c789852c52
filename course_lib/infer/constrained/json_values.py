"""What JSON Schema says of single values, strings and numbers above all, as patterns of their texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from course_lib.infer.constrained.numerals import whole_numbers
from course_lib.infer.constrained.regex import (
    ANY,
    Chars,
    Concat,
    Either,
    Ranges,
    Tree,
    complement,
    intersection,
    matches_nothing,
    parse,
    replace_chars,
    write,
)  # fmt: skip

# With larger exponents a reader may find it infinite.
NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"
OF_TYPE: dict[str, set[str]] = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
    "string": {"pattern", "minLength", "maxLength"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set(),
    "null": set(),
}
_PYTHON = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_ESCAPED = {'"': '"', "\\": "\\", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_MAY_STAND = complement(((0, 0x1F), (ord('"'), ord('"')), (ord("\\"), ord("\\"))))  # in a string as they are


class Unsatisfiable(ValueError):
    """No text can satisfy the schema."""


def string(schema: Mapping[str, Any], place: str) -> str:
    """A string in quotes; a character that JSON escapes counts as one."""
    least, most = sizes(schema, "minLength", "maxLength", place)
    if "pattern" not in schema:
        return f'"(?:{write(in_string(ANY.ranges))}){{{least},{"" if most is None else most}}}"'
    if "minLength" in schema or "maxLength" in schema:
        raise ValueError(f"{place}: pattern beside minLength or maxLength is not supported; say it all in the pattern")
    if not isinstance(schema["pattern"], str):
        raise ValueError(f"{place}/pattern must be a string")
    try:
        tree = parse(schema["pattern"], ecma=True)
    except ValueError as error:
        raise ValueError(f"{place}/pattern: {error}") from None
    if matches_nothing(tree):
        raise Unsatisfiable(f"{place}/pattern matches nothing")
    return f'"{write(replace_chars(tree, in_string))}"'


def in_string(characters: Ranges) -> Tree:
    """One of these characters as it is written within a JSON string (RFC 8259, section 7)."""
    backslash = Chars(((92, 92),))
    options: list[Tree] = [Chars(intersection(characters, _MAY_STAND))]
    for low, high in intersection(characters, complement(_MAY_STAND)):
        for code in range(low, high + 1):
            escape = _ESCAPED.get(chr(code)) or f"u{code:04x}"
            options.append(Concat((backslash, *(Chars(((ord(c), ord(c)),)) for c in escape))))
    return options[0] if len(options) == 1 else Either(tuple(options))


def integer(schema: Mapping[str, Any], place: str) -> str:
    """An integer within its bounds, without a fraction or an exponent."""
    low: int | None = None
    high: int | None = None
    for name in OF_TYPE["integer"] & schema.keys():
        bound = schema[name]
        infinite = isinstance(bound, float) and not math.isfinite(bound)
        if isinstance(bound, bool) or not isinstance(bound, int | float) or infinite:
            raise ValueError(f"{place}/{name} must be a number, not {json.dumps(bound, default=repr)}")
        if "inimum" in name:
            least = math.floor(bound) + 1 if name == "exclusiveMinimum" else math.ceil(bound)
            low = least if low is None else max(low, least)
        else:
            most = math.ceil(bound) - 1 if name == "exclusiveMaximum" else math.floor(bound)
            high = most if high is None else min(high, most)
    if low is not None and high is not None and low > high:
        raise Unsatisfiable(f"{place}: no integer is at least {low} and at most {high}")
    return whole_numbers(low, high)


def number(schema: Mapping[str, Any], place: str) -> str:
    """Any number; bounds are refused."""
    for name in sorted(OF_TYPE["number"] & schema.keys()):
        raise ValueError(f'{place}/{name} is not supported for "number"; use "integer", or leave it out')
    return NUMBER


def values(options: Any, types: list[str] | None, place: str) -> str:
    """One of the given values, of these types if any, as `json.dumps` writes it."""
    if not isinstance(options, list):
        raise ValueError(f"{place} must be a list of values")
    kept = [value for value in options if types is None or any(is_of(value, kind) for kind in types)]
    if not kept:
        raise Unsatisfiable(f"{place} has no value" + " of the type" * bool(options))
    return f"(?:{'|'.join(re.escape(text(value, place)) for value in kept)})"


def text(value: Any, place: str) -> str:
    """A value as JSON, with letters of all alphabets as they are."""
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
    except (TypeError, ValueError) as error:  # NaN, half a surrogate pair, an object of Python's
        raise ValueError(f"{place}: {value!r} cannot be written as JSON ({error})") from None
    return written


def is_of(value: Any, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema, where 1.0 is an integer and true is no number."""
    if kind in ("integer", "number"):
        real = isinstance(value, int | float) and not isinstance(value, bool)
        return real and (kind == "number" or value == value // 1)
    return isinstance(value, _PYTHON[kind])


def types(schema: Mapping[str, Any], place: str) -> list[str]:
    """The types that a schema names, or the one that its keywords are about."""
    named = schema.get("type", [kind for kind in ("object", "array", "string") if OF_TYPE[kind] & schema.keys()])
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not named or ("type" not in schema and len(named) != 1):
        raise ValueError(f"{place} must say of which type it is")
    for kind in named:
        if not isinstance(kind, str) or kind not in OF_TYPE:
            raise ValueError(f'{place}/type "{kind}" is not supported; use one of {", ".join(OF_TYPE)}')
    return named


def sizes(schema: Mapping[str, Any], least: str, most: str, place: str) -> tuple[int, int | None]:
    """A least and a greatest number of items or characters; None for no limit."""
    for name in (least, most):
        size = schema.get(name, 0)
        if isinstance(size, bool) or not isinstance(size, int | float) or size != size // 1 or size < 0:
            raise ValueError(f"{place}/{name} must be a whole number, not {json.dumps(size, default=repr)}")
    low, high = int(schema.get(least, 0)), schema.get(most)
    if high is not None and low > high:
        raise Unsatisfiable(f"{place}: {least} {low} is more than {most} {high}")
    return low, None if high is None else int(high)


def kinds(schema: Mapping[str, Any]) -> set[str]:
    """The types that a value may have; an integer is a number. All of them where it is not said."""
    if (fixed := constants(schema)) is not None:
        return {kind for value in fixed for kind in OF_TYPE if kind != "integer" and is_of(value, kind)}
    try:
        return {"number" if kind == "integer" else kind for kind in types(schema, "")}
    except ValueError:
        return set(OF_TYPE)


def constants(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values of enum or const, None where there are none."""
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None

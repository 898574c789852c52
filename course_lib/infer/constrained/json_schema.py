"""JSON Schema as a regular expression, for what of it is regular; everything else is refused by its name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from course_lib.infer.constrained import json_values as of
from course_lib.infer.constrained.json_values import OF_TYPE, Unsatisfiable

LONGEST = 200_000  # characters of a pattern: references within references can double it without end
COMMA, COLON = ", ?", ": ?"  # a space may follow: models have learnt both ways

# They say nothing about what is valid.
ANNOTATIONS = {
    "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly",
}  # fmt: skip


def json_schema(schema: Any) -> str:
    """A pattern for JSON texts that a schema accepts: properties in its order, no white space but after , and :.

    schema: as `json.loads` gives it. Supported are `type` with properties, required, additionalProperties (none but the
    listed are ever written), items, minItems, maxItems, pattern (as ECMA-262 has it, with ASCII's \\d, \\w and \\s),
    minLength, maxLength, and bounds of integers; enum, const, anyOf, oneOf of alternatives that exclude each other, and
    $ref within the schema.
    Raises ValueError, with the place, for anything else and for a schema that no text can satisfy.
    Source: JSON Schema, draft 2020-12; RFC 8259.
    """
    try:
        return _Writer(schema).pattern(schema, "#", ())
    except Unsatisfiable as error:
        raise ValueError(f"no text can satisfy the schema: {error}") from None
    except RecursionError:
        raise ValueError("the schema is nested too deeply; make it flatter") from None


class _Writer:
    """Turns the schemas within one document into patterns. place: where a schema stands, for messages."""

    def __init__(self, document: Any) -> None:
        self.document = document

    def pattern(self, schema: Any, place: str, seen: tuple[str, ...]) -> str:
        written = self._pattern(schema, place, seen)
        if len(written) > LONGEST:
            raise ValueError(f"{place} needs a pattern of over {LONGEST} characters; make the schema simpler")
        return written

    def _pattern(self, schema: Any, place: str, seen: tuple[str, ...]) -> str:
        if schema is False:
            raise Unsatisfiable(f"{place} is false")
        if schema is True or schema == {}:
            raise ValueError(f"{place} accepts any value, which no regular expression can describe; give it a type")
        if not isinstance(schema, Mapping):
            raise ValueError(f"{place} is no schema: it must be an object, not {json.dumps(schema, default=repr)}")
        schema = {name: value for name, value in schema.items() if name not in ANNOTATIONS}
        for name, write_it in (("$ref", self._ref), ("anyOf", self._any_of), ("oneOf", self._one_of)):
            if name in schema:
                _only(schema, {name}, place)
                return write_it(schema[name], place, seen)
        for name in ("enum", "const"):
            if name in schema:
                _only(schema, {name, "type"}, place)
                values = schema[name] if name == "enum" else [schema[name]]
                return of.values(values, of.types(schema, place) if "type" in schema else None, f"{place}/{name}")
        _only(schema, {"type"}.union(*OF_TYPE.values()), place)
        builders: dict[str, Callable[[], str]] = {
            "object": lambda: self._object(schema, place, seen),
            "array": lambda: self._array(schema, place, seen),
            "string": lambda: of.string(schema, place),
            "integer": lambda: of.integer(schema, place),
            "number": lambda: of.number(schema, place),
            "boolean": lambda: "(?:true|false)",
            "null": lambda: "null",
        }
        return _first_that_can((builders[kind] for kind in of.types(schema, place)), place)

    def _ref(self, ref: Any, place: str, seen: tuple[str, ...]) -> str:
        if ref in seen:
            raise ValueError(f"{place}: {ref} refers to itself, and what is nested without end is not regular")
        return self.pattern(self.target(ref, place), str(ref), (*seen, ref))

    def target(self, ref: Any, place: str) -> Any:
        """What a reference such as `#/$defs/point` points to (RFC 6901)."""
        if not isinstance(ref, str) or not re.fullmatch("#(/.*)?", ref):
            raise ValueError(f'{place}/$ref {ref!r} is not supported; only references within the schema, "#/...", are')
        found = self.document
        for part in ref.split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise ValueError(f"{place}/$ref: there is no {ref} in the schema")
            found = found[name]
        return found

    def _any_of(self, schemas: Any, place: str, seen: tuple[str, ...], name: str = "anyOf") -> str:
        place = f"{place}/{name}"
        places = [f"{place}/{i}" for i in range(len(_array_of_schemas(schemas, place)))]
        writers = (lambda s=s, p=p: self.pattern(s, p, seen) for s, p in zip(schemas, places, strict=True))
        return _first_that_can(writers, place)

    def _one_of(self, schemas: Any, place: str, seen: tuple[str, ...]) -> str:
        written = self._any_of(schemas, place, seen, "oneOf")
        for i, a in enumerate(schemas):
            for j, b in enumerate(schemas[:i]):
                if not self.exclusive(a, b, ()):
                    raise ValueError(
                        f"{place}/oneOf: a value may satisfy both {j} and {i}; use anyOf, or give objects a required "
                        "property whose constants differ"
                    )
        return written

    def exclusive(self, a: Any, b: Any, seen: tuple[Any, ...]) -> bool:
        """Whether surely no value satisfies both: by type, by their constants, or by those of a required property."""
        a, b = self._resolved(a, seen), self._resolved(b, seen)
        if not isinstance(a, Mapping) or not isinstance(b, Mapping):
            return False
        if not of.kinds(a) & of.kinds(b):
            return True
        if (left := of.constants(a)) is not None and (right := of.constants(b)) is not None:
            return not any(x == y for x in left for y in right)
        if of.kinds(a) == of.kinds(b) == {"object"} and "properties" in a and "properties" in b:
            shared = set(a.get("required", ())) & set(b.get("required", ())) & a["properties"].keys()
            shared &= b["properties"].keys()
            return any(self.exclusive(a["properties"][name], b["properties"][name], seen) for name in shared)
        return False

    def _resolved(self, schema: Any, seen: tuple[Any, ...]) -> Any:
        while isinstance(schema, Mapping) and "$ref" in schema:
            if schema["$ref"] in seen:
                return None
            seen = (*seen, schema["$ref"])
            schema = self.target(schema["$ref"], "#")
        return schema

    def _object(self, schema: Mapping[str, Any], place: str, seen: tuple[str, ...]) -> str:
        properties, required = schema.get("properties"), schema.get("required", [])
        more = schema.get("additionalProperties", True)
        if not isinstance(more, bool):
            raise ValueError(f"{place}/additionalProperties is not supported as a schema; list the properties")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise ValueError(f"{place}/required must be a list of names")
        if not isinstance(properties, Mapping):
            if more or properties is not None:
                raise ValueError(f"{place} accepts any object, which is not regular; list its properties")
            properties = {}
        for name in required:
            if name not in properties:
                if not more:
                    raise Unsatisfiable(f'{place} requires the property "{name}", which it does not allow')
                raise ValueError(f'{place} requires the property "{name}" and does not say what it is; list it')
        members: list[tuple[str, bool]] = []
        for name, value in properties.items():
            try:
                written = self.pattern(value, f"{place}/properties/{name}", seen)
            except Unsatisfiable:
                if name in required:
                    raise
                continue  # it may be left out, and has to
            members.append((re.escape(of.text(name, place)) + COLON + written, name in required))
        return r"\{" + _members(members) + r"\}"

    def _array(self, schema: Mapping[str, Any], place: str, seen: tuple[str, ...]) -> str:
        if schema.get("uniqueItems", False) is not False:
            raise ValueError(f"{place}/uniqueItems is not supported; leave it out")
        least, most = of.sizes(schema, "minItems", "maxItems", place)
        if most == 0:
            return r"\[\]"
        try:
            item = self.pattern(schema.get("items", True), f"{place}/items", seen)
        except Unsatisfiable:
            if least:
                raise
            return r"\[\]"
        more = f"{item}(?:{COMMA}{item}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        return rf"\[{more}\]" if least else rf"\[(?:{more})?\]"


def _members(members: list[tuple[str, bool]]) -> str:
    """Properties in their order, with commas between those that are there; True for a property that must be."""
    first = next((i for i, (_, needed) in enumerate(members) if needed), None)
    if first is None:  # any of them may be the first
        options = [
            text + "".join(f"(?:{COMMA}{later})?" for later, _ in members[i + 1 :])
            for i, (text, _) in enumerate(members)
        ]
        return f"(?:{'|'.join(options)})?"
    before = "".join(f"(?:{text}{COMMA})?" for text, _ in members[:first])
    after = "".join(COMMA + text if needed else f"(?:{COMMA}{text})?" for text, needed in members[first + 1 :])
    return before + members[first][0] + after


def _first_that_can(writers: Iterable[Callable[[], str]], place: str) -> str:
    """Any of the options, without those that nothing satisfies."""
    options, reasons = [], []
    for write_it in writers:
        try:
            options.append(write_it())
        except Unsatisfiable as error:
            reasons.append(str(error))
    if not options:
        raise Unsatisfiable("; ".join(reasons) or f"{place} is empty")
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"


def _array_of_schemas(schemas: Any, place: str) -> list[Any]:
    if not isinstance(schemas, list):
        raise ValueError(f"{place} must be a list of schemas")
    return schemas


def _only(schema: Mapping[str, Any], supported: set[str], place: str) -> None:
    for name in schema:
        if name not in supported:
            beside = "" if "type" in supported and len(supported) > 2 else f" beside {' and '.join(sorted(supported))}"
            raise ValueError(f'{place}: "{name}" is not supported{beside}; leave it out')

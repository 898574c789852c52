"""JSON Schema as a grammar: all that is written is valid by `jsonschema`, and values that are valid can be written."""

import json
import random
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from course_lib.infer.constrained.grammar import TokenGrammar, json_schema

VALIDATOR = Draft202012Validator
TOKENS = [*(bytes([byte]) for byte in range(256)), b'": "', b'", "', b"true", b"12", b""]
END = len(TOKENS) - 1
quick = settings(max_examples=120, deadline=None)
integers = st.integers(-150, 150)


def bounds(draw, names, numbers):
    """None, one or two bounds that leave something."""
    low, high = sorted((draw(numbers), draw(numbers)))
    return {name: n for name, n in zip(names, (low, high), strict=True) if draw(st.booleans())}


# Of control characters only those that JSON has a letter for.
writable = st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\b\f\n\r\t")


@st.composite
def strings(draw):
    kind = draw(st.integers(0, 2))
    if kind == 0:
        limits = bounds(draw, ("minLength", "maxLength"), st.integers(0, 5))
        return {"type": "string", **limits}, st.text(
            writable, min_size=limits.get("minLength", 0), max_size=limits.get("maxLength", 8)
        )
    pattern, value = draw(
        st.sampled_from(
            [
                ("^[a-z]+$", st.text("abz", min_size=1, max_size=4)),
                ("b", st.text("abé", max_size=3).map(lambda text: text + 'b"\\')),
                ('^["\\\\\\n]{2}', st.text('"\\\n', min_size=2, max_size=4)),
                (r"\d|^x(yz)?$", st.sampled_from(["a1", "x", "xyz", "\t9"])),
                ("^(a|é)$|^$", st.sampled_from(["a", "é", ""])),
            ]
        )
    )
    return {"type": "string", "pattern": pattern}, value


@st.composite
def whole(draw):
    limits = bounds(draw, ("minimum", "maximum"), integers)
    return {"type": "integer", **limits}, st.integers(limits.get("minimum"), limits.get("maximum"))


@st.composite
def arrays(draw, inner):
    schema, value = draw(inner)
    limits = bounds(draw, ("minItems", "maxItems"), st.integers(0, 3))
    values = st.lists(value, min_size=limits.get("minItems", 0), max_size=limits.get("maxItems", 4))
    return {"type": "array", "items": schema, **limits}, values


@st.composite
def objects(draw, inner):
    names = draw(st.lists(st.sampled_from(["a", "b", 'q"', "é", "n\n"]), max_size=4, unique=True))
    members = {name: draw(inner) for name in names}
    required = [name for name in names if draw(st.booleans())]
    schema = {"type": "object", "properties": {name: schema for name, (schema, _) in members.items()}}
    if required:
        schema["required"] = required
    if draw(st.booleans()):
        schema["additionalProperties"] = draw(st.booleans())
    value = st.fixed_dictionaries({name: value for name, (_, value) in members.items()})
    dropped = st.sets(st.sampled_from([name for name in names if name not in required] or [None]))
    in_order = st.tuples(value, dropped).map(lambda pair: {k: pair[0][k] for k in names if k not in pair[1]})
    return schema, in_order


def one_of_both(pair):
    (a, x), (b, y) = pair
    return {"anyOf": [a, b]}, x | y


scalars = st.one_of(
    strings(),
    whole(),
    st.just(({"type": "number"}, st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))),
    st.just(({"type": "boolean"}, st.booleans())),
    st.just(({"type": ["null", "integer"], "description": "an age"}, st.none() | st.integers())),
    st.just(({"enum": ["a", 'b"', 1.5, None, [1, {"é": True}]]}, st.sampled_from(["a", 'b"', 1.5, [1, {"é": True}]]))),
    st.just(({"type": "string", "enum": ["x", 1]}, st.just("x"))),
    st.just(({"const": {"k": [False]}}, st.just({"k": [False]}))),
)
schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(arrays(inner), objects(inner), st.tuples(inner, inner).map(one_of_both)),
    max_leaves=5,
)


def of_schema(schema):
    return TokenGrammar(json_schema(schema), TOKENS, [END])


def accepts(grammar, text):
    matcher = grammar.matcher()
    for byte in text.encode():
        if not matcher.allowed()[byte]:
            return False
        matcher.accept(byte)
    return matcher.complete


CLOSING = [END, *(TOKENS.index(bytes([byte])) for byte in b'"}],:0123456789tfn{[aexz')]


def written(grammar, draw, patience=40):
    """A text drawn at random; after some tokens, what closes it is preferred. None where that does not end it."""
    matcher, text = grammar.matcher(), b""
    for step in range(400):
        allowed = matcher.allowed()
        closing = [token for token in CLOSING if allowed[token]]
        choices = closing[:1] if step >= patience and closing else allowed.nonzero().flatten().tolist()
        token = draw.choice(choices)
        if token == END:
            return text.decode()
        matcher.accept(token)
        text += TOKENS[token]
    return None


def parsed(text):
    """Numbers as they are written: as doubles, 0.30000000000000000001 and 0.3 would be one."""
    return json.loads(text, parse_float=lambda number: float(number) if "e" in number.lower() else Decimal(number))


@quick
@given(schemas, st.integers(0, 2**32))
def test_what_is_written_is_valid(pair, seed):
    schema, _ = pair
    grammar = of_schema(schema)
    draw = random.Random(seed)
    for _ in range(3):
        text = written(grammar, draw)
        if text is not None:
            VALIDATOR(schema).validate(parsed(text))


def test_texts_come_to_an_end():
    """Else the test above could pass without seeing any."""
    draw = random.Random(0)
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["b"]}
    grammar = of_schema({"anyOf": [schema, {"type": "array", "items": schema, "maxItems": 2}]})
    assert sum(written(grammar, draw) is not None for _ in range(50)) >= 45


@quick
@given(schemas, st.data())
def test_values_that_are_valid_can_be_written(pair, data):
    schema, values = pair
    value = data.draw(values)
    VALIDATOR(schema).validate(value)
    for separators in ((", ", ": "), (",", ":")):
        assert accepts(of_schema(schema), json.dumps(value, ensure_ascii=False, separators=separators))


@quick
@given(schemas, schemas, st.data())
def test_what_the_grammar_accepts_is_valid(one, other, data):
    """Values made for another schema: most are not valid, and none of those may pass."""
    text = json.dumps(data.draw(one[1] | other[1]), ensure_ascii=False)
    if accepts(of_schema(one[0]), text):
        VALIDATOR(one[0]).validate(parsed(text))


numbers = st.none() | st.integers(-1200, 1200) | st.integers(-(2**53), 2**53)


@settings(quick, max_examples=200)
@given(numbers, numbers, st.integers(-1500, 1500) | st.integers(-(2**54), 2**54))
def test_whole_numbers(low, high, n):
    limits = {"minimum": low, "maximum": high}
    schema = {"type": "integer", **{name: bound for name, bound in limits.items() if bound is not None}}
    if low is not None and high is not None and low > high:
        with pytest.raises(ValueError, match="no text can satisfy the schema"):
            json_schema(schema)
        return
    grammar = of_schema(schema)
    near = [n, *(edge + d for edge in (low, high) if edge is not None for d in (-1, 0, 1))]
    for value in near:
        inside = (low is None or low <= value) and (high is None or value <= high)
        assert accepts(grammar, str(value)) == inside
    assert not any(accepts(grammar, text) for text in ("01", "-01", "", "-", "+1", "1.0"))


def test_bounds_that_doubles_cannot_tell_apart_are_refused():
    for bound in (2**53 + 1, -(10**400), 1e300):
        with pytest.raises(ValueError, match=r"maximum beyond 2\^53 is not supported"):
            json_schema({"type": "integer", "maximum": bound})


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        ({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 3}, ["1", "2"], ["0", "3"]),
        ({"type": "integer", "exclusiveMinimum": 1, "maximum": 3.5, "minimum": -9}, ["2", "3"], ["1", "4"]),
        ({"type": "number"}, ["0", "-1.50", "1e9", "2.5E-07"], ["01", ".5", "1.", "NaN", "+1"]),
        ({"type": "string"}, ['"é😀"', r'"\n\"\\"'], [r'"\u0041"', '"a\nb"', '"\\"', '"', "a", r'"\ud800"']),
        (
            {"pattern": "^.$"},
            ['"a"', '"é"', r'"\t"'],
            [r'"\n"', '""', '"ab"'],
        ),
        ({"type": "string", "maxLength": 1}, [r'"\n"', '"😀"', '""'], ['"ab"']),
        (
            {"type": "object", "properties": {"a": {"type": "null"}}},
            ["{}", '{"a": null}', '{"a":null}'],
            ['{"a":  null}', '{"b": null}'],
        ),
        (
            {"type": "object", "properties": {k: {"const": 1} for k in "abc"}, "required": ["b"]},
            ['{"b": 1}', '{"a": 1, "b": 1}', '{"b": 1,"c": 1}', '{"a":1,"b":1,"c":1}'],
            ["{}", '{"b": 1, "a": 1}', '{, "b": 1}', '{"b": 1, }', '{"a": 1, "c": 1}'],
        ),
        (
            {"type": "object", "properties": {k: {"const": 1} for k in "abc"}},
            ["{}", '{"c": 1}', '{"a": 1, "c": 1}', '{"b": 1}'],
            ['{"c": 1, "a": 1}', "{,}", '{"a": 1 "b": 1}'],
        ),
        ({"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 3}, ["[1, 1]", "[1,1, 1]"], ["[1]", "[]"]),
        ({"type": "array", "items": False}, ["[]"], ["[1]"]),
        ({"type": "object", "properties": {"a": False}}, ["{}"], ['{"a": 1}']),
        ({"anyOf": [{"enum": []}, {"type": "null"}]}, ["null"], [""]),
        ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": {"type": "boolean"}}}, ["true"], ["null"]),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"1"'], ["1.5"]),
        (
            {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": {"type": "null"}},
            ['{"a": 1, "b": null}', "{}"],
            ['{"b": 1}', '{"a": null}', r'{"\u0061": null}'],
        ),
        ({"type": "object", "required": ["a"]}, ['{"a": 1}', '{"a": [{}], "b": 1}'], ["{}", '{"b": 1}']),
        ({"type": "array", "items": {"$ref": "#"}}, ["[]", "[[], [[]]]"], ["[1]"]),
        ({"type": "string", "format": "date"}, ['"2024-02-29"'], ['"2024-13-01"', '"today"']),
        ({"type": "string", "pattern": "^[^a&&b]$"}, ['"c"'], ['"&"', '"a"']),
        ({"type": "string", "pattern": r"^[\w[]$"}, ['"["', '"a"'], ['"é"', '"]"']),
        (
            {"allOf": [{"type": "object", "properties": {n: {"type": "null"}}, "required": [n]} for n in "ab"]},
            ['{"a": null, "b": null}'],
            ['{"a": null}'],
        ),
        ({"enum": [1, "a", None], "type": ["string", "null"]}, ['"a"', "null"], ["1"]),
    ],
)
def test_by_hand(schema, yes, no):
    grammar = of_schema(schema)
    for text in yes:
        assert accepts(grammar, text), text
        VALIDATOR(schema).validate(json.loads(text))
    for text in no:
        assert not accepts(grammar, text), text


def kind(name):
    return {"type": "object", "properties": {"kind": {"const": name}, "x": {"type": "integer"}}, "required": ["kind"]}


def test_one_of_objects_that_a_constant_tells_apart():
    schema = {"oneOf": [kind("a"), {"$ref": "#/$defs/b"}], "$defs": {"b": kind("b")}}
    grammar = of_schema(schema)
    draw = random.Random(0)
    texts = [written(grammar, draw, 12) for _ in range(20)]
    assert sum(text is not None for text in texts) >= 10
    for text in texts:
        if text is not None:
            Draft202012Validator(schema).validate(json.loads(text))
    overlapping = {"oneOf": [kind("a"), kind("a")]}
    with pytest.raises(ValueError, match="oneOf of alternatives that may overlap is not supported; use anyOf"):
        json_schema(overlapping)
    # Read as anyOf it would write what is not valid: the control.
    text = '{"kind": "a"}'
    assert accepts(of_schema({"anyOf": overlapping["oneOf"]}), text)
    assert not Draft202012Validator(overlapping).is_valid(json.loads(text))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (False, "it is false"),
        ({"enum": []}, "anyOf is empty"),
        ({"type": "string", "enum": [1]}, "incompatible types"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum (3) is greater than maximum (2)"),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "contains no integer values"),
        (
            {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 1},
            "minItems (2) is greater than maxItems (1)",
        ),
        ({"type": "array", "items": False, "minItems": 1}, "required item is unsatisfiable"),
        ({"type": "string", "minLength": 2, "maxLength": 1}, "minLength (2) is greater than maxLength (1)"),
        ({"type": "string", "pattern": r"[^\s\S]"}, "Regex is empty"),
        (
            {"type": "object", "additionalProperties": False, "required": ["a"]},
            "required property 'a' is unsatisfiable",
        ),
        (
            {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]},
            "required property 'a' is unsatisfiable",
        ),
        ({"anyOf": []}, "anyOf is empty"),
        ({"anyOf": [False, {"enum": []}]}, "schema is false"),
    ],
)
def test_what_no_text_can_satisfy(schema, sentence):
    with pytest.raises(ValueError, match="no text can satisfy the schema: ") as raised:
        json_schema(schema)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"type": "string", "format": "fish"}, "Unknown format: fish"),
        ({"not": {"type": "null"}}, 'Unimplemented keys: ["not"]'),
        ({"if": {"type": "null"}}, 'Unimplemented keys: ["if"]'),
        ({"type": "array", "items": {"type": "null"}, "uniqueItems": True}, 'Unimplemented keys: ["uniqueItems"]'),
        ({"type": "array", "contains": {"const": 1}}, 'Unimplemented keys: ["contains"]'),
        ({"type": "array", "unevaluatedItems": False}, 'Unimplemented keys: ["unevaluatedItems"]'),
        ({"type": "object", "propertyNames": {"maxLength": 1}}, 'Unimplemented keys: ["propertyNames"]'),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, 'Unimplemented keys: ["dependentRequired"]'),
        ({"x-guidance": {"lenient": True}, "not": {}}, 'Unimplemented keys: ["not"]'),
        ({"type": "string", "pattern": "(?=a)"}, "look-around, including look-ahead and look-behind, is not supported"),
        ({"type": "string", "pattern": "a++"}, "the pattern 'a++' cannot be used: a possessive repeat"),
        ({"type": "string", "pattern": "("}, "'(' is not a regular expression"),
        ({"type": "string", "minLength": -1}, "Expected positive integer for 'minLength', got -1"),
        ({"type": "string", "minLength": "2"}, "Expected positive integer for 'minLength', got \"2\""),
        ({"type": "integer", "minimum": True}, "Expected f64 for 'minimum', got true"),
        ({"type": "strin"}, "Invalid type: strin"),
        ({"enum": "ab"}, "enum must be an array"),
        ({"const": 1801439850948199.0}, "a number of more than 15 digits or an exponent beyond 22 in const"),
        ({"enum": [2.43673425085615e-241]}, "a number of more than 15 digits or an exponent beyond 22 in"),
        ({"enum": [1, [2**53 + 1]]}, "a number of more than 15 digits or an exponent beyond 22 in enum"),
        ({"enum": ["a\x01b", "c"]}, "a control character in enum is not supported"),
        ({"properties": {"a": {"const": [{"k\x1f": 1}]}}}, "a control character in const is not supported"),
        ({"const": float("nan")}, "cannot be written as JSON"),
        ({"const": "\ud800"}, "cannot be written as JSON"),
        ({"type": "object", "properties": {"a": 3}}, "schema must be an object or boolean"),
        ({"anyOf": {"type": "null"}}, "anyOf must be an array"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf of alternatives that may overlap"),
        ({"oneOf": [{"const": 1}, {"const": 1.0}]}, "oneOf of alternatives that may overlap"),
        ({"$ref": "#/$defs/a"}, "Pointer '/$defs/a' does not exist"),
        ({"$ref": "https://example.com/a"}, "is not present in a registry"),
        ([1], "a JSON Schema must be an object, not a list"),
        (None, "a JSON Schema must be an object, not a NoneType"),
    ],
)
def test_what_is_refused_is_named(schema, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        json_schema(schema)
    assert "no text can satisfy" not in str(raised.value)
    assert "\n" not in str(raised.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from(["a", "string", "object", "#/a", "("]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=3,
)
keywords = sorted(Draft202012Validator.VALIDATORS)
odd_schemas = st.recursive(
    json_values,
    lambda inner: st.dictionaries(st.sampled_from([*keywords, "a"]), inner | st.lists(inner, max_size=2), max_size=3),
    max_leaves=8,
)


@settings(quick, max_examples=500)
@given(odd_schemas)
def test_whatever_a_client_sends_is_a_grammar_or_a_sentence(schema):
    try:
        assert isinstance(json_schema(schema), str)
    except ValueError as error:
        assert str(error)  # noqa: PT017


@settings(quick, max_examples=300)
@given(odd_schemas, st.integers(0, 2**32))
def test_no_keyword_is_ignored(schema, seed):
    """Whatever keywords a schema has: what is written is valid, or the schema is refused."""
    try:
        VALIDATOR.check_schema(schema)
        grammar = of_schema(schema)
    except (ValueError, SchemaError, RecursionError):
        return
    text = written(grammar, random.Random(seed), 10)
    if text is not None:
        VALIDATOR(schema).validate(parsed(text))


def test_references_within_references_stay_small():
    """Written out in full, these would be 2^24 objects."""
    defs = {"a0": {"type": "null"}}
    for i in range(1, 25):
        twice = {"$ref": f"#/$defs/a{i - 1}"}
        defs[f"a{i}"] = {"type": "object", "properties": {"x": twice, "y": twice}, "required": ["x", "y"]}
    assert accepts(
        of_schema({"$ref": "#/$defs/a2", "$defs": defs}), '{"x":{"x":null,"y":null},"y":{"x":null,"y":null}}'
    )
    of_schema({"$ref": "#/$defs/a24", "$defs": defs})
    deep = {"type": "null"}
    for _ in range(2000):
        deep = {"type": "array", "items": deep, "minItems": 1, "maxItems": 1}
    with pytest.raises(ValueError, match="nested too deeply"):
        json_schema(deep)

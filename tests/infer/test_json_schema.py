"""JSON Schema as a pattern: all that is written is valid by `jsonschema`, and values that are valid can be written."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from course_lib.infer.constrained import json_schema as module
from course_lib.infer.constrained.constrain import regular
from course_lib.infer.constrained.json_schema import json_schema
from course_lib.infer.constrained.numerals import whole_numbers

TOKENS = [*(bytes([byte]) for byte in range(256)), b'": "', b'", "', b"true", b"12", b""]
END = len(TOKENS) - 1
quick = settings(max_examples=120, deadline=None)
integers = st.integers(-150, 150)


def bounds(draw, names, numbers):
    """None, one or two bounds that leave something."""
    low, high = sorted((draw(numbers), draw(numbers)))
    return {name: n for name, n in zip(names, (low, high), strict=True) if draw(st.booleans())}


@st.composite
def strings(draw):
    kind = draw(st.integers(0, 2))
    if kind == 0:
        limits = bounds(draw, ("minLength", "maxLength"), st.integers(0, 5))
        return {"type": "string", **limits}, st.text(
            min_size=limits.get("minLength", 0), max_size=limits.get("maxLength", 8)
        )
    pattern, value = draw(
        st.sampled_from(
            [
                ("^[a-z]+$", st.text("abz", min_size=1, max_size=4)),
                ("b", st.text("abé", max_size=3).map(lambda text: text + 'b"\\')),
                ('^["\\\\\\n]{2}', st.text('"\\\n', min_size=2, max_size=4)),
                (r"\d|^x(yz)?$", st.sampled_from(["a1", "x", "xyz", "\t9\x00"])),
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


def written(constraint, draw, patience=40):
    """A text drawn at random; after some tokens, by the shortest way to an end."""
    state, text = constraint.start, b""
    for _ in range(patience):
        token = draw.choice(constraint.allowed(state).nonzero().flatten().tolist())
        if token == END:
            return text.decode()
        state = constraint.next(state, token)
        text += TOKENS[token]
    paths, order = {state: text}, [state]
    for state in order:  # it grows as we go: breadth first
        if constraint.complete(state):
            return paths[state].decode()
        for token in constraint.allowed(state)[:256].nonzero().flatten().tolist():
            after = constraint.next(state, token)
            if after not in paths:
                paths[after] = paths[state] + TOKENS[token]
                order.append(after)
    raise AssertionError("no way to an end")


@quick
@given(schemas, st.integers(0, 2**32))
def test_what_is_written_is_valid(pair, seed):
    schema, _ = pair
    pattern = json_schema(schema)
    constraint = regular(pattern, TOKENS, [END])
    draw = random.Random(seed)
    for _ in range(3):
        text = written(constraint, draw)
        assert re.fullmatch(pattern, text)
        Draft202012Validator(schema).validate(json.loads(text))


@quick
@given(schemas, st.data())
def test_values_that_are_valid_can_be_written(pair, data):
    schema, values = pair
    value = data.draw(values)
    Draft202012Validator(schema).validate(value)
    for separators in ((", ", ": "), (",", ":")):
        if separators == (",", ":") and re.search("enum|const", json.dumps(schema)):
            continue  # constants are written in one way
        assert re.fullmatch(json_schema(schema), json.dumps(value, ensure_ascii=False, separators=separators))


@quick
@given(schemas, schemas, st.data())
def test_what_the_pattern_accepts_is_valid(one, other, data):
    """Values made for another schema: most are not valid, and none of those may pass."""
    text = json.dumps(data.draw(one[1] | other[1]), ensure_ascii=False)
    if re.fullmatch(json_schema(one[0]), text):
        Draft202012Validator(one[0]).validate(json.loads(text))


numbers = st.none() | st.integers(-1200, 1200) | st.integers(-(10**20), 10**20)


@settings(quick, max_examples=300)
@given(numbers, numbers, st.integers(-1500, 1500) | st.integers(-(10**21), 10**21))
def test_whole_numbers(low, high, n):
    if low is not None and high is not None and low > high:
        with pytest.raises(ValueError, match="no integer is at least"):
            whole_numbers(low, high)
        return
    pattern = whole_numbers(low, high)
    near = [n, *(edge + d for edge in (low, high) if edge is not None for d in (-1, 0, 1))]
    for value in near:
        inside = (low is None or low <= value) and (high is None or value <= high)
        assert bool(re.fullmatch(pattern, str(value))) == inside
    assert not any(re.fullmatch(pattern, text) for text in ("-0", "01", "-01", "", "-", "+1", "1.0"))


def test_all_small_ranges():
    for low in range(-30, 31):
        for high in range(low, 125, 7):
            pattern = re.compile(whole_numbers(low, high))
            assert [n for n in range(-140, 140) if pattern.fullmatch(str(n))] == list(range(low, high + 1))


@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        ({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 3}, ["1", "2"], ["0", "3"]),
        ({"type": "integer", "exclusiveMinimum": 1, "maximum": 3.5, "minimum": -9}, ["2", "3"], ["1", "4"]),
        ({"type": "number"}, ["0", "-1.50", "1e9", "2.5E-07"], ["01", ".5", "1.", "NaN", "1e400", "+1"]),
        ({"type": "string"}, ['"é😀"', r'"\n\"\\"', r'"\u0001"'], ['"a\nb"', '"\\"', '"', "a", r'"\ud800"']),
        (
            {"pattern": "^.$"},
            ['"a"', '"é"', r'"\t"'],
            [r'"\n"', r'"\r"', '"\u2028"', '"\u2029"', '""'],
        ),  # ends of lines
        ({"type": "string", "maxLength": 1}, [r'"\n"', '"😀"', '""'], ['"ab"']),
        ({"properties": {"a": {"type": "null"}}}, ["{}", '{"a": null}', '{"a":null}'], ['{"a":  null}', '{"b": null}']),
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
        ({"oneOf": [{"const": 1}, {"enum": [2, "1"]}]}, ["1", '"1"'], ["3"]),
        ({"enum": [1, "a", None], "type": ["string", "null"]}, ['"a"', "null"], ["1"]),
    ],
)
def test_by_hand(schema, yes, no):
    pattern = json_schema(schema)
    for text in yes:
        assert re.fullmatch(pattern, text), text
        Draft202012Validator(schema).validate(json.loads(text))
    for text in no:
        assert not re.fullmatch(pattern, text), text


def kind(name):
    return {"type": "object", "properties": {"kind": {"const": name}, "x": {"type": "integer"}}, "required": ["kind"]}


def test_one_of_objects_that_a_constant_tells_apart():
    schema = {"oneOf": [kind("a"), {"$ref": "#/$defs/b"}], "$defs": {"b": kind("b")}}
    constraint = regular(json_schema(schema), TOKENS, [END])
    draw = random.Random(0)
    for _ in range(20):
        Draft202012Validator(schema).validate(json.loads(written(constraint, draw, 5)))
    overlapping = {"oneOf": [kind("a"), kind("a")]}
    with pytest.raises(ValueError, match="#/oneOf: a value may satisfy both 0 and 1; use anyOf"):
        json_schema(overlapping)
    # Read as anyOf it would write what is not valid: the control.
    text = written(regular(json_schema({"anyOf": overlapping["oneOf"]}), TOKENS, [END]), draw, 5)
    assert not Draft202012Validator(overlapping).is_valid(json.loads(text))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (False, "# is false"),
        ({"enum": []}, "#/enum has no value"),
        ({"type": "string", "enum": [1]}, "#/enum has no value of the type"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "#: no integer is at least 3 and at most 2"),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, "no integer is at least 2 and at most 1"),
        (
            {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 1},
            "minItems 2 is more than maxItems",
        ),
        ({"type": "array", "items": False, "minItems": 1}, "#/items is false"),
        ({"type": "string", "minLength": 2, "maxLength": 1}, "#: minLength 2 is more than maxLength 1"),
        ({"type": "string", "pattern": r"[^\s\S]"}, "#/pattern matches nothing"),
        ({"type": "object", "additionalProperties": False, "required": ["a"]}, 'requires the property "a", which it'),
        ({"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]}, "#/properties/a/enum has no value"),
        ({"anyOf": []}, "#/anyOf is empty"),
        ({"anyOf": [False, {"enum": []}]}, "#/anyOf/0 is false; #/anyOf/1/enum has no value"),
    ],
)
def test_what_no_text_can_satisfy(schema, sentence):
    with pytest.raises(ValueError, match="no text can satisfy the schema: ") as raised:
        json_schema(schema)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({}, "# accepts any value"),
        ({"type": "object"}, "# accepts any object"),
        ({"type": "array"}, "#/items accepts any value"),
        ({"title": "a"}, "# must say of which type it is"),
        ({"type": "string", "format": "date"}, '#: "format" is not supported'),
        ({"allOf": [{"type": "null"}]}, '#: "allOf" is not supported'),
        ({"not": {"type": "null"}}, '#: "not" is not supported'),
        ({"type": "integer", "multipleOf": 2}, '#: "multipleOf" is not supported'),
        ({"type": "number", "minimum": 0}, '#/minimum is not supported for "number"'),
        ({"type": "array", "items": {"type": "null"}, "uniqueItems": True}, "#/uniqueItems is not supported"),
        ({"type": "array", "prefixItems": []}, '"prefixItems" is not supported'),
        ({"type": "object", "properties": {}, "patternProperties": {}}, '"patternProperties" is not supported'),
        ({"type": "object", "additionalProperties": {"type": "null"}}, "#/additionalProperties is not supported as a"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]}, 'the property "b" and does not'),
        ({"type": "string", "pattern": "a", "minLength": 2}, "pattern beside minLength or maxLength"),
        ({"type": "string", "pattern": "(?=a)"}, "#/pattern: the pattern '(?=a)' cannot be used: look-around"),
        ({"type": "string", "pattern": "("}, "#/pattern: '(' is not a regular expression"),
        ({"type": "string", "minLength": -1}, "#/minLength must be a whole number, not -1"),
        ({"type": "string", "minLength": "2"}, '#/minLength must be a whole number, not "2"'),
        ({"type": "integer", "minimum": True}, "#/minimum must be a number, not true"),
        ({"type": "strin"}, '#/type "strin" is not supported; use one of object'),
        ({"type": []}, "# must say of which type it is"),
        ({"enum": "ab"}, "#/enum must be a list of values"),
        ({"const": float("nan")}, "#/const: nan cannot be written as JSON"),
        ({"const": "\ud800"}, "cannot be written as JSON"),
        ({"type": "object", "properties": {"a": 3}}, "#/properties/a is no schema: it must be an object, not 3"),
        ({"anyOf": {"type": "null"}}, "#/anyOf must be a list of schemas"),
        ({"anyOf": [{"type": "null"}], "type": "null"}, '#: "type" is not supported beside anyOf'),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "a value may satisfy both 0 and 1"),
        ({"oneOf": [{"const": 1}, {"const": 1.0}]}, "a value may satisfy both 0 and 1"),
        ({"$ref": "#/$defs/a"}, "#/$ref: there is no #/$defs/a in the schema"),
        ({"$ref": "https://example.com/a"}, "only references within the schema"),
        ({"properties": {"a": {"$ref": "#"}}}, "#/properties/a: # refers to itself"),
        ([1], "# is no schema: it must be an object"),
    ],
)
def test_what_is_refused_is_named(schema, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as raised:
        json_schema(schema)
    assert "no text can satisfy" not in str(raised.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from(["a", "string", "object", "#/a", "("]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=3,
)
keywords = sorted({"type", "enum", "const", "anyOf", "oneOf", "$ref", "$defs", "not"}.union(*module.OF_TYPE.values()))
odd_schemas = st.recursive(
    json_values,
    lambda inner: st.dictionaries(st.sampled_from([*keywords, "a"]), inner | st.lists(inner, max_size=2), max_size=3),
    max_leaves=8,
)


@settings(quick, max_examples=500)
@given(odd_schemas)
def test_whatever_a_client_sends_is_a_pattern_or_a_sentence(schema):
    try:
        assert isinstance(json_schema(schema), str)
    except ValueError as error:
        assert str(error)  # noqa: PT017


def test_references_that_double_without_end_are_stopped():
    defs = {"a0": {"type": "null"}}
    for i in range(1, 25):
        twice = {"$ref": f"#/$defs/a{i - 1}"}
        defs[f"a{i}"] = {"type": "object", "properties": {"x": twice, "y": twice}, "required": ["x", "y"]}
    with pytest.raises(ValueError, match=f"needs a pattern of over {module.LONGEST} characters"):
        json_schema({"$ref": "#/$defs/a24", "$defs": defs})
    deep = {"type": "null"}
    for _ in range(2000):
        deep = {"type": "array", "items": deep, "minItems": 1, "maxItems": 1}
    with pytest.raises(ValueError, match=r"nested too deeply|over 200000 characters"):
        json_schema(deep)


def test_bounds_larger_than_any_float():
    pattern = json_schema({"type": "integer", "maximum": -(10**400)})
    assert re.fullmatch(pattern, str(-(10**400) - 7))
    assert not re.fullmatch(pattern, str(-(10**400) + 7))

"""Slips at one place of a source, such as a `return` that stands too deep or a sum along another axis.

Each is a change of a syntax tree, with words for what a solution with it does ("takes the sum along another axis").
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from course_lib.grader.mutants import NAMES

# Places in a tree, (node, field) or (list, index), each with what stands there after the slip.
Change = list[tuple[Any, Any, Any]]
Slips = Iterator[tuple[str, Change]]

_LOOPS = (ast.For, ast.While)
LOOP_LEFT = "leaves its loop in the first round: does a `return` stand too deep"
# What takes an axis, as the first argument of a method; and what of it can do without one.
_ALONG = {
    **{"sum": "sum", "mean": "mean", "amax": "maximum", "amin": "minimum", "max": "maximum", "min": "minimum"},
    **{"norm": "norm", "std": "spread", "var": "variance", "prod": "product", "argmax": "argmax", "argmin": "argmin"},
    **{"all": "`all`", "any": "`any`", "logsumexp": "`logsumexp`", "softmax": "softmax", "log_softmax": "log softmax"},
    **{"cumsum": "running sum", "sort": "sorting", "argsort": "sorting", "flip": "order", "diff": "difference"},
}
_OF_ALL = {"sum", "mean", "max", "min", "norm", "std", "var", "prod", "argmax", "argmin", "all", "any"}
_AXES = (0, 1, -1, -2)
# What may be forgotten, with words for it.
_STEPS = {
    **{"sqrt": "square root", "square": "square", "log": "logarithm", "exp": "exponential", "abs": "absolute value"},
    **{"log2": "logarithm", "log1p": "logarithm", "relu": "relu", "sigmoid": "sigmoid", "logsigmoid": "logarithm"},
    **{"softmax": "softmax", "log_softmax": "logarithm of the softmax", "cumsum": "running sum", "sorted": "sorting"},
    **{
        "set": "set, so that the same thing may count twice",
        "transpose": "transpose",
        "clamp": "limit",
        "flip": "flip",
    },
    **{"masked_fill": "mask", "tril": "mask", "triu": "mask", "round": "rounding", "floor": "rounding"},
    **{"ceil": "rounding up", "int": "rounding", "softplus": "softplus", "tanh": "tanh", "gelu": "gelu"},
}
_OTHER_NAMES = {**NAMES, "log": "log2", "log2": "log", "floor": "ceil", "ceil": "floor", "argsort": "sort"}
_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], str]] = {
    ast.Add: (ast.Sub, "subtracts where it should add"),
    ast.Sub: (ast.Add, "adds where it should subtract"),
    ast.Mult: (ast.Div, "divides where it should multiply"),
    ast.Div: (ast.Mult, "multiplies where it should divide"),
    ast.FloorDiv: (ast.Div, "divides by `/`, where only whole numbers make sense"),
    ast.Mod: (ast.FloorDiv, "has `//` where `%` is meant"),
    ast.BitAnd: (ast.BitOr, "takes what meets one of two conditions, where both are needed"),
    ast.BitOr: (ast.BitAnd, "takes what meets both conditions, where one is enough"),
}
_LEFT_OUT: dict[type[ast.operator], str] = {
    ast.Add: "term of a sum",
    ast.Sub: "subtraction",
    ast.Mult: "factor",
    ast.Div: "divisor",
}
_THE_OTHER_WAY: dict[type[ast.operator], str] = {
    ast.Sub: "subtracts the other way round",
    ast.Div: "divides the other way round",
    ast.MatMult: "multiplies the matrices in the other order",
}
_BORDER: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot},
    **{ast.IsNot: ast.Is},
}


def changes(tree: ast.Module, every: bool = True) -> Slips:
    """Yield the slips that are possible in a source, the commonest kinds first. The tree is as it was in between.

    Args:
        tree: The source.
        every: Whether to yield also slips whose words make sense only to who has written these very lines, such as "a
            factor is left out".
    """
    nodes = list(ast.walk(tree))
    for node in nodes:
        yield from _return_too_deep(node)
    yield from _another_axis(nodes)
    places = [place for node in nodes for place in _places(node)]
    for kind in (*_KINDS, *(_OF_THESE_LINES if every else ())):
        for container, key in places:
            for words, other in kind(_at(container, key)):
                yield words, [(container, key, other)]
    for of_statements in (_other_loop, _other_order, _one_case_less) if every else ():
        for node in nodes:
            yield from of_statements(node)


def exchange(change: Change) -> Change:
    """Make a change, and return the one that takes it back."""
    before = [(container, key, _at(container, key)) for container, key, _ in change]
    for container, key, value in change:
        if isinstance(container, list):
            container[key] = value
        else:
            setattr(container, key, value)
    return before


def _at(container: Any, key: Any) -> Any:
    return container[key] if isinstance(container, list) else getattr(container, key)


def _places(node: ast.AST) -> Iterator[tuple[Any, Any]]:
    """Yield where the expressions stand that a node is made of."""
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            yield from ((value, i) for i, item in enumerate(value) if isinstance(item, (ast.expr, ast.slice)))
        elif isinstance(value, ast.expr):
            yield node, name


def _blocks(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    for name in ("body", "orelse"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield name, block


def _new(other: Any, like: ast.AST) -> Any:
    return ast.fix_missing_locations(ast.copy_location(other, like))


def _number(node: ast.AST | None) -> Any:
    """Return the number that a node writes out, or None."""
    try:
        value = ast.literal_eval(node) if isinstance(node, (ast.Constant, ast.UnaryOp)) else None
    except ValueError:
        return None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _name_of(call: ast.AST) -> str:
    """Return the last name of what is called, `softmax` of `torch.softmax(...)`; an empty string if it is no call."""
    if not isinstance(call, ast.Call):
        return ""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


# Statements


def _return_too_deep(node: ast.AST) -> Slips:
    for _, block in _blocks(node):
        for i, last in enumerate(block):
            if isinstance(last, ast.Return):
                outer = [statement for statement in block[:i] if isinstance(statement, _LOOPS)]
                for loop in (inner for one in outer for inner in ast.walk(one)):
                    if isinstance(loop, _LOOPS):
                        yield LOOP_LEFT, [(loop, "body", [*loop.body, last])]
                    elif isinstance(loop, ast.If):
                        words = "ends as soon as an `if` in its loop applies: does a `return` stand too deep"
                        yield words, [(loop, "body", [*loop.body, last])]


def _other_loop(node: ast.AST) -> Slips:
    for name, block in _blocks(node):
        for i, statement in enumerate(block):
            before = block[i - 1] if i else None
            if isinstance(statement, _LOOPS) and isinstance(before, ast.Assign):
                yield (
                    "begins anew in each round of its loop",
                    [(statement, "body", [before, *statement.body])],
                )
            first = statement.body[0] if isinstance(statement, _LOOPS) else None
            if isinstance(first, ast.Assign) and isinstance(statement, ast.For) and len(statement.body) > 1:
                yield (
                    "makes once, before its loop, what each round needs anew",
                    [(statement, "body", statement.body[1:]), (node, name, [*block[:i], first, *block[i:]])],
                )
            if isinstance(statement, ast.AugAssign) and not isinstance(statement.op, ast.Mult):
                other = _new(ast.Assign([statement.target], statement.value), statement)
                yield "writes over what was there, where it should add to it", [(block, i, other)]
                if isinstance(statement.op, (ast.Add, ast.Sub)):
                    opposite = ast.Sub() if isinstance(statement.op, ast.Add) else ast.Add()
                    yield _OPERATORS[type(statement.op)][1], [(statement, "op", opposite)]


def _other_order(node: ast.AST) -> Slips:
    for _, block in _blocks(node):
        for i, (one, other) in enumerate(itertools.pairwise(block)):
            if isinstance(one, ast.If) and isinstance(other, ast.If):
                yield "asks two of its questions in the other order", [(block, i, other), (block, i + 1, one)]
            elif isinstance(node, _LOOPS) and not isinstance(other, ast.Return):
                yield "does two steps of its loop in the other order", [(block, i, other), (block, i + 1, one)]


def _one_case_less(node: ast.AST) -> Slips:
    """Yield slips that leave an `if` or a step out: the least telling words, so the last."""
    for _, block in _blocks(node):
        for i, statement in enumerate(block):
            nothing = _new(ast.Pass(), statement)
            if isinstance(statement, ast.If):
                other = statement.orelse or [nothing]
                never = _new(ast.If(ast.Constant(True), other, []), statement)
                always = _new(ast.If(ast.Constant(True), statement.body, []), statement)
                yield "leaves out a case that the task treats by itself", [(block, i, never)]
                yield "leaves out a case that the task treats by itself", [(block, i, always)]
            elif isinstance(statement, (ast.AugAssign, ast.Delete)) or _is_step(statement):
                yield "leaves out one of its steps", [(block, i, nothing)]


def _is_step(statement: ast.stmt) -> bool:
    """Whether a statement changes something that has been made before."""
    if isinstance(statement, ast.Assign):
        return not isinstance(statement.targets[0], (ast.Name, ast.Tuple))
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


# Axes


def _another_axis(nodes: list[ast.AST]) -> Slips:
    spots = [spot for node in nodes if isinstance(node, ast.Call) for spot in _axis_of(node)]
    for axis in _AXES:
        if len(spots) > 1:
            yield "goes along another axis in all its steps", [_axis_at(c, k, axis) for _, c, k in spots]
    for call, container, key in spots:
        what = _ALONG.get(_name_of(call), f"`{_name_of(call)}`")
        for axis in _AXES:
            if axis != _number(_at(container, key)):
                yield f"takes the {what} along another axis", [_axis_at(container, key, axis)]
    without = [(call, _without_axis(call)) for call, _, _ in spots if _name_of(call) in _OF_ALL]
    for call, change in without:
        yield f"takes one {_ALONG[_name_of(call)]} of all numbers together", change
    if len(without) > 1:
        yield "takes all numbers together, and not row by row", [part for _, change in without for part in change]


def _axis_of(call: ast.Call) -> Iterator[tuple[ast.Call, Any, Any]]:
    """Yield where a call says along which axis it goes."""
    for keyword in call.keywords:
        if keyword.arg in ("dim", "axis") and _number(keyword.value) is not None:
            yield call, keyword, "value"
    if _name_of(call) in _ALONG and isinstance(call.func, ast.Attribute):
        of_torch = isinstance(call.func.value, ast.Name) and call.func.value.id in ("torch", "F", "np")
        place = int(of_torch)
        if len(call.args) > place and isinstance(_number(call.args[place]), int):
            yield call, call.args, place


def _axis_at(container: Any, key: Any, axis: int) -> tuple[Any, Any, Any]:
    return container, key, _new(ast.Constant(axis), _at(container, key))


def _without_axis(call: ast.Call) -> Change:
    kept = [keyword for keyword in call.keywords if keyword.arg not in ("dim", "axis", "keepdim")]
    of_torch = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in ("torch", "F", "np")
    return [(call, "keywords", kept), (call, "args", call.args[: int(of_torch)])]


# Expressions: each yields what may stand in the place of one


def _part_of_a_loop(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
        part = node.generators[0]
        for words, low, high in (
            (LOOP_LEFT, None, 1),
            ("keeps only what the last round of its loop has found", -1, None),
        ):
            shorter = ast.comprehension(part.target, _shorter(part.iter, low, high), part.ifs, part.is_async)
            parts = {name: value for name, value in ast.iter_fields(node) if name != "generators"}
            yield words, _new(type(node)(**parts, generators=[shorter, *node.generators[1:]]), node)
        if part.ifs:
            every = ast.comprehension(part.target, part.iter, part.ifs[1:], part.is_async)
            parts = {name: value for name, value in ast.iter_fields(node) if name != "generators"}
            other = type(node)(**parts, generators=[every, *node.generators[1:]])
            yield "takes all of them, where some should be left out", _new(other, node)
    if _name_of(node) == "range" and isinstance(node, ast.Call):
        *first, last = node.args[:2]
        start = first[0] if first else ast.Constant(0)
        for words, begin, end in (
            ("goes one round too far in its loop", start, _plus(last, 1)),
            ("ends its loop one round too early", start, _plus(last, -1)),
            ("begins its loop one round too late", _plus(start, 1), last),
            ("begins its loop one round too early", _plus(start, -1), last),
        ):
            yield words, _new(ast.Call(node.func, [begin, end, *node.args[2:]], []), node)


def _shorter(node: ast.expr, low: int | None, high: int | None) -> ast.expr:
    ends = [None if end is None else ast.Constant(end) for end in (low, high)]
    every = ast.Call(ast.Name("list", ast.Load()), [node], [])
    return _new(ast.Subscript(every, ast.Slice(*ends), ast.Load()), node)


def _plus(node: ast.expr, n: int) -> ast.expr:
    if isinstance(number := _number(node), int):
        return _new(ast.Constant(number + n), node)
    return _new(ast.BinOp(node, ast.Add(), ast.Constant(n)), node)


def _shifted_slice(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Slice) and (node.lower or node.upper) and not node.step:
        words = "cuts a piece out of something, one place too early or too late"
        for n in (1, -1):
            if node.lower:
                yield words, _new(ast.Slice(_plus(node.lower, n), node.upper), node)
            if node.upper:
                yield words, _new(ast.Slice(node.lower, _plus(node.upper, n)), node)
        yield "takes all of something, where a piece is asked for", _new(ast.Slice(None, None), node)


def _another_name(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if other := _OTHER_NAMES.get(name):
        words = f"takes `{other}` in the place of `{name}`"
        if isinstance(node, ast.Attribute):
            yield words, _new(ast.Attribute(node.value, other, node.ctx), node)
        else:
            yield words, _new(ast.Name(other, ast.Load()), node)
    if isinstance(node, ast.Attribute) and name in ("T", "mT"):
        yield "leaves out a transpose", node.value


def _step_left_out(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    name = _name_of(node)
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
        inner, outer = node.func.value, node
        if isinstance(inner.func, ast.Attribute) and {name, inner.func.attr} <= {*_ALONG, *_STEPS}:
            swapped = ast.Call(ast.Attribute(inner.func.value, name, ast.Load()), outer.args, outer.keywords)
            other = ast.Call(ast.Attribute(swapped, inner.func.attr, ast.Load()), inner.args, inner.keywords)
            yield (
                f"takes `{name}` first and `{inner.func.attr}` then, where the order is the other one",
                _new(other, node),
            )
    if name in _STEPS:
        is_method = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") not in _MODULES
        left = node.func.value if is_method and isinstance(node.func, ast.Attribute) else next(iter(node.args), None)
        if left is not None:
            yield f"leaves out the {_STEPS[name]}", left
    if name in ("min", "max") and isinstance(node.func, ast.Name) and len(node.args) == 2:
        for left in node.args:
            yield f"leaves out a limit, a `{name}` of two numbers", left
    if name in ("std", "var") and not {keyword.arg for keyword in node.keywords} & {"correction", "unbiased"}:
        keywords = [*node.keywords, ast.keyword("correction", ast.Constant(0))]
        yield "divides by n, where n - 1 is asked for", _new(ast.Call(node.func, node.args, keywords), node)
    for i, keyword in enumerate(node.keywords):
        value = getattr(keyword.value, "value", None)
        if isinstance(value, bool) and keyword.arg not in ("strict", "keepdim", "bias"):
            opposite = ast.keyword(keyword.arg, ast.Constant(not value))
            keywords = [*node.keywords[:i], opposite, *node.keywords[i + 1 :]]
            yield f"does the opposite in `{name}`", _new(ast.Call(node.func, node.args, keywords), node)


_MODULES = ("torch", "F", "math", "np", "nn")


def _another_operator(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if not isinstance(node, ast.BinOp):
        return
    left, op, right = node.left, type(node.op), node.right

    def made(one: ast.expr, operator: ast.operator, other: ast.expr) -> Any:
        return _new(ast.BinOp(one, operator, other), node)

    if op is ast.Pow:
        what = {2: "square", 0.5: "square root"}.get(_number(right) or 0, "power")
        yield f"leaves out a {what}", left
    if op in _THE_OTHER_WAY:
        yield _THE_OTHER_WAY[op], made(right, node.op, left)
    if op is ast.Div:
        yield "divides by `//`, which drops what is behind the point", made(left, ast.FloorDiv(), right)
    brackets = "lacks a pair of brackets"
    if op is ast.Div and isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult):
        yield brackets, made(made(left, ast.Div(), right.left), ast.Mult(), right.right)
    if op in (ast.Div, ast.Mult) and isinstance(left, ast.BinOp) and isinstance(left.op, (ast.Add, ast.Sub)):
        yield brackets, made(left.left, left.op, made(left.right, node.op, right))
    if op in (ast.Div, ast.Mult) and isinstance(right, ast.BinOp) and isinstance(right.op, (ast.Add, ast.Sub)):
        yield brackets, made(made(left, node.op, right.left), right.op, right.right)
    if op is ast.Sub and isinstance(right, ast.BinOp) and isinstance(right.op, (ast.Add, ast.Sub)):
        yield brackets, made(made(left, node.op, right.left), right.op, right.right)
    if op in _LEFT_OUT:
        yield f"leaves out a {_LEFT_OUT[op]}", left
        if op in (ast.Add, ast.Mult):
            yield f"leaves out a {_LEFT_OUT[op]}", right
    if op in _OPERATORS:
        other, words = _OPERATORS[op]
        yield words, made(left, other(), right)


def _another_question(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Compare):
        op, rest = type(node.ops[0]), node.ops[1:]
        if op in _BORDER:
            words = "treats what lies exactly on a border the other way, as `<` and `<=` differ"
            yield words, _new(ast.Compare(node.left, [_BORDER[op](), *rest], node.comparators), node)
        if rest and type(rest[-1]) in _BORDER:
            words = "treats what lies exactly on a border the other way, as `<` and `<=` differ"
            ops = [*node.ops[:-1], _BORDER[type(rest[-1])]()]
            yield words, _new(ast.Compare(node.left, ops, node.comparators), node)
        if op in _OPPOSITE:
            words = "asks one of its questions the other way round"
            yield words, _new(ast.Compare(node.left, [_OPPOSITE[op](), *rest], node.comparators), node)
    elif isinstance(node, ast.BoolOp) and all(isinstance(value, _CONDITIONS) for value in node.values):
        both = isinstance(node.op, ast.And)
        words = "is content with one of two conditions" if both else "asks for both conditions, where one is enough"
        yield words, _new(ast.BoolOp(ast.Or() if both else ast.And(), node.values), node)
        for i in range(len(node.values)):
            kept = [*node.values[:i], *node.values[i + 1 :]]
            yield "leaves out a condition", _new(ast.BoolOp(node.op, kept), node) if len(kept) > 1 else kept[0]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        yield "asks one of its questions the other way round", node.operand
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and _number(node) is None:
        yield "leaves out a minus sign", node.operand
    elif isinstance(node, ast.IfExp):
        for left in (node.body, node.orelse):
            yield "leaves out a case that the task treats by itself", left


_CONDITIONS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Call)  # and no `x or y` that chooses a value


def _other_places(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
        yield "exchanges two things that stand side by side", _new(ast.Tuple(node.elts[::-1], node.ctx), node)
    if isinstance(node, ast.Call) and len(node.args) == 2 and not any(isinstance(a, ast.Starred) for a in node.args):
        yield (
            "hands over two arguments in the wrong order",
            _new(ast.Call(node.func, node.args[::-1], node.keywords), node),
        )


def _another_number(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    number = _number(node)
    if number is None or not isinstance(node, ast.Constant):
        return
    if isinstance(number, int):
        for n in (1, -1):
            yield "has a whole number that is off by one", _new(ast.Constant(number + n), node)
    elif number:
        for factor in (2, 0.5):
            yield (
                f"has a number {'twice' if factor == 2 else 'half'} as large",
                _new(ast.Constant(number * factor), node),
            )


_KINDS: tuple[Callable[[ast.AST], Iterator[tuple[str, ast.AST]]], ...] = (
    _part_of_a_loop,
    _another_name,
    _step_left_out,
    _another_question,
)
_OF_THESE_LINES = (_another_operator, _shifted_slice, _other_places, _another_number)

"""No name of a lab means one thing in one section and another in the next.

Cells are run out of order: whoever goes back to a section must not find there what a later one has put in its place.
The rule: a name that the code of two sections assigns is read only in cells that have assigned it themselves. Loop
variables such as `i`, `rows` of a table made on the spot, or `fig, ax` keep it without further ado.
"""

import ast
import re
import symtable
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest

LABS = sorted((Path(__file__).resolve().parent.parent / "labs").glob("*.ipynb"))
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
COMPOUND = (ast.For, ast.While, ast.If, ast.With, ast.Try)  # what one assigns and reads counts as its own


def assigned(node):
    """The names that a statement binds in the notebook, not inside its functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, SCOPES):
        return set()
    own = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()
    return own.union(*map(assigned, ast.iter_child_nodes(node)))


def reads(table):
    """The names of the notebook that a statement reads, also in its functions."""
    at_top = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (at_top or s.is_global())}
    return own.union(*map(reads, table.get_children()))


def given_from_outside(tree):
    """The names that a cell reads without having assigned them before."""
    found, done = set(), set()
    for statement in tree.body:
        own = assigned(statement)
        needed = reads(symtable.symtable(ast.unparse(statement), "cell", "exec"))
        found |= needed - done - (own if isinstance(statement, COMPOUND) else set())
        done |= own
    return found


def clashes(cells):
    """{name: sections} of the names that two sections assign and a cell takes from another one."""
    section, sections, taken = 0, defaultdict(set), set()
    for kind, source in cells:
        if kind == "markdown":
            section += len(re.findall(r"^## ", source, re.MULTILINE))
        elif kind == "code":
            tree = ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))
            for name in set().union(*map(assigned, tree.body)):
                sections[name].add(section)
            taken |= given_from_outside(tree)
    return {name: sorted(found) for name, found in sections.items() if len(found) > 1 and name in taken}


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_name_means_one_thing_in_a_lab(path):
    cells = [(cell.cell_type, cell.source) for cell in nbformat.read(path, as_version=4).cells]
    found = clashes(cells)
    assert not found, f"give each section a name of its own: {found}"


NEXT = ("markdown", "## The next section")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["n = 3", "print(n)"], ["n = 4"]),
        (["n = 3", "def f():\n    return n"], ["for n in range(3):\n    pass"]),
        (["n = 3"], ["n = n + 1"]),
        (["def f():\n    pass", "f()"], ["f = 1"]),
    ],
)
def test_a_clash_is_found(first, second):
    assert clashes([*(("code", c) for c in first), NEXT, *(("code", c) for c in second)])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["n = 3", "print(n)"], ["print(n)"]),
        (["n = 3\nprint(n)"], ["n = 4\nprint(n)"]),
        (["for n in range(3):\n    print(n)"], ["n = 4\nprint(n)"]),
        (["n = 3", "print(n)"], ["print([n for n in range(3)])"]),
        (["n = 3", "print(n)"], ["def f(n):\n    return n"]),
    ],
)
def test_what_is_no_clash_is_not(first, second):
    assert not clashes([*(("code", c) for c in first), NEXT, *(("code", c) for c in second)])

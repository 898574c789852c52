"""No lab types a seed: all that is random in it follows from `SEED = seed()`, so that no two replications are alike."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

LABS = sorted((Path(__file__).resolve().parent.parent / "labs").glob("*.ipynb"))
NOT_OF_THE_LAB = {"range", "pick", "list", "tuple"}  # names in a seed that is typed all the same


def is_typed(node):
    """Whether a value is made of typed numbers alone."""
    parts = list(ast.walk(node))
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    return names <= NOT_OF_THE_LAB and any(isinstance(part, ast.Constant) for part in parts) and not is_none(node)


def is_none(node):
    return isinstance(node, ast.Constant) and node.value is None


def seeds_in(node):
    """What a node of a lab's code uses as a seed, or calls one."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        yield from node.args[:1] if name in ("manual_seed", "seed", "Random", "default_rng") else []
        yield from (keyword.value for keyword in node.keywords if keyword.arg in ("seed", "random_state"))
    elif isinstance(node, ast.arguments):
        named = [*node.posonlyargs, *node.args][::-1]
        given = [*zip(named, node.defaults[::-1], strict=False), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
        yield from (value for name, value in given if name.arg == "seed" and value is not None)
    elif isinstance(node, ast.Assign) and any(name_of(target) in ("seed", "seeds") for target in node.targets):
        yield node.value
    elif isinstance(node, ast.For | ast.comprehension) and name_of(node.target) == "seed":
        yield node.iter


def name_of(target):
    return target.id.lower() if isinstance(target, ast.Name) else ""


def typed_seeds(source):
    """The seeds that a cell types, in place of `SEED = seed()` and what follows from it."""
    tree = ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE))
    comprehensions = (node for node in ast.walk(tree) if isinstance(node, ast.ListComp))
    committed = [node for node in comprehensions if "committed_run(" in ast.unparse(node.elt)]  # of their own seeds
    left_out = {part for node in committed for part in ast.walk(node)}
    nodes = (node for node in ast.walk(tree) if node not in left_out)
    return [ast.unparse(seed) for node in nodes for seed in seeds_in(node) if is_typed(seed)]


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_no_lab_types_a_seed(path):
    """Otherwise that part of it would be the same in all replications."""
    cells = nbformat.read(path, as_version=4).cells
    assert [(c.id, typed) for c in cells if c.cell_type == "code" for typed in typed_seeds(c.source)] == []


@pytest.mark.parametrize(
    ("line", "seed"),
    [
        ("SEED = 0", "0"),
        ("seeds = [0, 1]", "[0, 1]"),
        ("seeds = pick(cpu=range(5), gpu=range(10))", "pick(cpu=range(5), gpu=range(10))"),
        ("torch.manual_seed(0)", "0"),
        ("dice = torch.Generator(device()).manual_seed(10**6 + 1)", "10 ** 6 + 1"),
        ("random.Random(3).shuffle(x)", "3"),
        ("rng = np.random.default_rng(seed=7)", "7"),
        ("train(model, batch, loss, TrainConfig(60, seed=1))", "1"),
        ("def build(encoding, seed=0):\n    torch.manual_seed(seed)", "0"),
        ("def build(encoding, *, other, seed=0):\n    pass", "0"),
        ("for seed in range(3):\n    run(seed)", "range(3)"),
        ("runs = [run(seed) for seed in (0, 1)]", "(0, 1)"),
        ("%time\nloader = Loader(data, 32, seed=0)", "0"),
    ],
)
def test_a_typed_seed_is_found(line, seed):
    assert typed_seeds(line) == [seed]


@pytest.mark.parametrize(
    "line",
    [
        "SEED = seed()",
        "seeds = [SEED, SEED + 1]",
        "torch.manual_seed(SEED + 1000)",
        "def run(seed, steps=100, rng=None, *, lr=1e-3):\n    torch.manual_seed(1000 + seed)",
        "sweep = [committed_run('peft', seed, size='cpu') for seed in (0, 1)]",
        "def sample(x, seed=None):\n    return x",
        "def tuned(model, steps=100, seed=SEED):\n    return model",
        "for seed, start in starts.items():\n    run(start, seed=seed)",
    ],
)
def test_a_seed_that_follows_from_the_lab_s_is_none(line):
    assert typed_seeds(line) == []

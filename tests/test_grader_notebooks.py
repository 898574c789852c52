"""Generated notebooks get the same verdict from `check`, `course check` and `course grade`.

Each notebook answers all exercises of a lab: with the reference, another right answer or a known mistake, by way of a
helper written in one of many styles, in one of the places where learners write, between what Colab leaves behind.

`check` is called by the notebook itself, run from top to bottom. The other two are the same code, `grade_with`, with
visible and with hidden cases; here its worker is this process, so that hundreds of notebooks cost seconds. Shared with
the sandbox is all that decides: reading the file, the analysis of cells, the choice of statements, `inside.child`,
which runs them, and the exam. Not shared are the process, its limits and the wire; the last test sends a few of the
same notebooks through the real worker.
"""

import ast
import builtins
import contextlib
import functools
import inspect
import io
import json
import random
import socket
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from submissions import build, good, wrong
from submissions.build import IMPORTS, notebook

import course_lib.grader
from course_lib import exercises
from course_lib.grader import sandbox
from course_lib.grader.cells_needed import MOST_STATEMENTS, Statements, reference_source
from course_lib.grader.exam import Exam
from course_lib.grader.foresight import difference
from course_lib.grader.hidden import exams_of
from course_lib.grader.inside.cells import analyse
from course_lib.grader.inside.child import Child
from course_lib.grader.inside.outcomes import Answer, describe_error
from course_lib.grader.notebook import Notebook, lab_of, marks_in, read_notebook
from course_lib.grader.submission import grade, grade_with

VARIANTS = 18  # for each lab
SEED = 4

# fmt: off
# name: (cells that define NAME, a statement of the answer that needs all of them)
STYLES = {
    "float": (["NAME = float('-inf')"], "assert NAME < -1e300"),
    "minus inf": (["NAME = -math.inf"], "assert NAME < -1e300"),
    "tensor": (["NAME = torch.tensor([1.0, 2.0])"], "assert NAME.sum() == 3"),
    "finfo": (["NAME = torch.finfo(torch.float32).min"], "assert NAME < -1e30"),
    "dict": (["NAME = dict(keepdim=True)"], "assert NAME['keepdim']"),
    "lambda": (["NAME = lambda x: x * x"], "assert NAME(3) == 9"),
    "alias": (["NAME = torch.softmax"], "assert NAME(torch.zeros(2), 0)[0] == 0.5"),
    "import": (["from torch.nn import functional as NAME"], "assert NAME.relu"),
    "import that may fail": (["try:\n    import nobody as NAME\nexcept ImportError:\n    NAME = 1"], "assert NAME"),
    "if": (["if math.pi > 4:\n    NAME = 'cuda'\nelse:\n    NAME = 'cpu'"], "assert NAME == 'cpu'"),
    "decorated": (["import functools\n@functools.lru_cache\ndef NAME(n):\n    return n ** 0.5"], "assert NAME(4) == 2"),
    "partial": (["NAME = partial(torch.add, other=1)"], "assert NAME(torch.ones(1)) == 2"),
    "comprehension": (["NAME = [i * i for i in range(9)]"], "assert NAME[8] == 64"),
    "loop that fills a table": (["NAME = {}\nfor i in range(9):\n    NAME[i] = i * i"], "assert NAME[8] == 64"),
    "loop that appends": (["NAME = []", "for i in range(9):\n    if i:\n        NAME.append(i)"], "assert NAME[7]"),
    "augmented": (["NAME = 1", "NAME += 1"], "assert NAME == 2"),
    "part": (["NAME = torch.zeros(2, 3)", "NAME[0, 1] = 5\nNAME[1] += 2"], "assert NAME.sum() == 11"),
    "attribute": (["class NAME:\n    pass", "NAME.eps = 1e-9"], "assert NAME.eps < 1"),
    "deleted part": (["NAME = {1: 2}", "del NAME[1]"], "assert not NAME"),
    "with": (["with torch.no_grad():\n    NAME = torch.eye(2)"], "assert NAME[1, 1] == 1"),
    "tuple": (["NAME, (other_NAME, *rest_NAME) = 1, (2, 3, 4)"], "assert NAME + rest_NAME[1] == 5"),
    "walrus": (["print(NAME := 7)"], "assert NAME == 7"),
    "chain": (["low_NAME = -1", "def mid_NAME():\n    return low_NAME", "NAME = mid_NAME() + 3"], "assert NAME == 2"),
    "class": (["class base_NAME:\n    x = 3", "class NAME(base_NAME):\n    y = 4"], "assert NAME.x + NAME.y == 7"),
    "default": (["two_NAME = 2\ndef NAME(x=two_NAME):\n    return x"], "assert NAME() == 2"),
    "nothing": ([], "pass"),
}
# fmt: on
PLACES = ("cells above", "own cell, above", "own cell, below")
ANSWERS = ("in the stub's place", "below the stub", "marked twice", "assigned below the stub")
MARKS = ("# EXERCISE: {}", "#exercise:{}", "  # Exercise : {}", "#@title A\n# EXERCISE: {}", "%%time\n# exercise: {}")
ARTEFACTS = (
    "!pip install -q something \\\n    else",
    "%matplotlib inline\n%load_ext autoreload",
    "from google.colab import drive\ndrive.mount('/content/drive')",
    "#@title Settings { run: 'auto' }\nsize = 3 #@param {type: 'slider', min: 0, max: 9}",
    "%%bash\nls -l | head",
    "%%html\n<b>bold</b>",
    "display(torch.ones(2))",
    "torch.softmax?",
    "files = !ls\nfiles",
    "this is no Python",
    "1 / 0",
)
TRAINING = "import builtins\nmodel = vars(builtins).setdefault('runs_of_training', []).append(1)"


text_of = functools.cache(inspect.getsource)  # of a function, or of a whole file


def source_of(solution, name, extra, renamed=()):
    """The source of a solution under another name, with one more statement at its start, and with other names in it."""
    tree = ast.parse(text_of(solution))
    (node,) = tree.body
    renamed = {node.name: name, **dict(renamed)}
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Name):
            inner.id = renamed.get(inner.id, inner.id)
    node.name, node.decorator_list = name, []
    functions = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]
    functions[-1 if isinstance(node, ast.ClassDef) else 0].body[:0] = ast.parse(extra).body
    return ast.unparse(node)


@functools.cache
def tree_of(module):
    return ast.parse(text_of(module))


def parts_of(solution):
    """What else of its file a solution uses, as a cell: private helpers, constants, and the mistakes it is made of."""
    module = sys.modules[solution.__module__]
    found, waiting = {}, [text_of(solution)]
    while waiting:
        used = {n.id for n in ast.walk(ast.parse(waiting.pop())) if isinstance(n, ast.Name)}
        for node in tree_of(module).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else node
            name = getattr(target, "name", getattr(target, "id", None))
            if name in used and name not in found and name not in (solution.__name__, "EXERCISE", module.EXERCISE.name):
                if getattr(node, "decorator_list", None):  # another mistake, called as `name.solution(...)`
                    source = source_of(getattr(module, name).solution, name, "pass")
                    found[name] = f"{source}\n{name}.solution = {name}"
                else:
                    found[name] = ast.unparse(node)
                waiting.append(found[name])
    return list(found.values())[::-1]


def imports_of(lab):
    """What the files of the exercises import, as their lab does."""
    trees = [tree_of(sys.modules[exercise.reference.__module__]) for exercise in lab]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    lines = dict.fromkeys(map(ast.unparse, nodes))
    return "\n".join(line for line in lines if "course_lib" not in line and "__future__" not in line)


class Written:
    """A generated notebook: its cells, and for each exercise the known mistake that was made, or None."""

    def __init__(self, lab, variant):
        self.lab = exercises.of_lab(lab)
        self.random = random.Random(f"{lab} {variant}")
        self.cells, self.mistakes = [IMPORTS, imports_of(self.lab), TRAINING], {}
        wrong = self.random.choice(self.lab) if variant % 3 == 0 else None
        for n, exercise in enumerate(self.lab):
            mistake = self.random.choice(exercise.mistakes) if exercise is wrong else None
            self.mistakes[exercise.id] = mistake.message if mistake else None
            right = [exercise.reference, *(alternative.solution for alternative in exercise.alternatives)]
            style = list(STYLES)[(variant + 7 * n + self.random.randrange(2)) % len(STYLES)]
            self.answer(exercise, mistake.solution if mistake else right[variant % len(right)], style)
            both = f'("{exercise.id}", {exercise.name})'
            self.cells += [f"check{both}\n{exercise.name} = use{both}"]
        self.cells += [TRAINING]

    def answer(self, exercise, solution, style):
        """Add the cells of an answer."""
        place, where, mark = (self.random.choice(options) for options in (PLACES, ANSWERS, MARKS))
        helper, extra = json.loads(json.dumps(STYLES[style]).replace("NAME", f"my_{exercise.id}"))
        helper = [*parts_of(solution), *helper]
        is_class = isinstance(exercise.reference, type)
        name = f"own_{exercise.name}" if where == "assigned below the stub" else exercise.name
        right = {} if solution is exercise.reference else {exercise.name: f"right_{exercise.name}"}
        if right and exercise.name in text_of(solution).split("(", 2)[-1]:  # made of the right answer
            helper.append(source_of(exercise.reference, right[exercise.name], "pass"))
            if is_class and place == "own cell, below":
                place = "own cell, above"  # a class needs its base at once
        parts = [source_of(solution, name, extra, right)]
        if where == "assigned below the stub":
            parts += [f"{exercise.name} = {name}"]
        if place == "cells above":
            self.cells += helper
        else:
            parts = [*parts, *helper] if place == "own cell, below" else [*helper, *parts]
        answer, mark = "\n".join(parts), mark.format(exercise.id)
        stub = f"{mark}\ndef {exercise.name}(*args):\n    raise NotImplementedError"
        if is_class:
            stub = f"{mark}\nclass {exercise.name}:\n    def __init__(self, *args):\n        raise NotImplementedError"
        if where == "in the stub's place":
            self.cells += [f"{mark}\n{answer}"]
        elif where == "marked twice":
            self.cells += [stub, f"{mark}\n{answer}"]
        else:
            self.cells += [stub, answer]
        self.cells += self.random.choices(ARTEFACTS, k=self.random.randrange(3))


@functools.lru_cache(maxsize=1000)
def analysed(source):
    """The analysis of a cell: it depends on nothing else, and each notebook is graded twice."""
    return Answer(analyse(source))


class Here:
    """What `WorkerClient` does, in this process: same requests, same answers."""

    def __init__(self):
        self.fork()

    def fork(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.child = Child(ours)  # never serves: its methods are called

    def ask(self, op, seconds, **content):
        if op == "analyse":
            return analysed(**content)
        value = failure = None
        try:
            value = getattr(self.child, f"do_{op}")(**content)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = describe_error(error)
        return Answer(value, failure, self.child.subject.changed if self.child.subject else None)


@functools.cache
def exams(lab, hidden):
    return exams_of(lab, SEED) if hidden else [Exam(exercise) for exercise in exercises.of_lab(lab)]


def verdicts(results):
    return {result.exercise.id: (result.outcome.value, result.mistake) for result in results}


def run_all(cells, monkeypatch):
    """Run the cells from top to bottom, as Jupyter does after an error too; return what `check` says at the end."""
    said, real = {}, course_lib.grader.check

    @functools.wraps(real)
    def check(id, obj):
        checked = real(id, obj)
        said[id] = checked.result
        return checked

    def use(id, obj):  # as the real one chooses, which would check once more (test_grader_check.py)
        return obj if said[id] else exercises.find(id).reference

    monkeypatch.setattr(course_lib.grader, "check", check)
    monkeypatch.setattr(course_lib.grader, "use", use)
    shell = types.SimpleNamespace(**dict.fromkeys(("run_line_magic", "system", "getoutput"), lambda *args: None))
    shell.run_cell_magic = lambda magic, line, cell: run(cell) if magic == "time" else None
    namespace = {"__name__": "__main__", "get_ipython": lambda: shell, "display": print}

    def run(source):
        exec(compile(TransformerManager().transform_cell(source), "<cell>", "exec", dont_inherit=True), namespace)

    for source in cells:
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            run(source)
    monkeypatch.undo()
    return verdicts(said.values())


def read(written, folder):
    path = folder / "any.ipynb"
    path.write_text(json.dumps(notebook(written.cells)))
    return read_notebook(path)


@pytest.mark.parametrize("variant", range(VARIANTS))
@pytest.mark.parametrize("lab", exercises.labs())
def test_check_and_course_check_and_course_grade_agree(lab, variant, tmp_path, monkeypatch):
    written = Written(lab, variant)
    expected = {id: ("wrong", mistake) if mistake else ("passed", None) for id, mistake in written.mistakes.items()}
    submission = read(written, tmp_path)
    assert lab_of(submission) == lab
    text = "\n---\n".join(written.cells)
    assert run_all(written.cells, monkeypatch) == expected, text
    vars(builtins)["runs_of_training"] = []
    assert verdicts(grade_with(Here(), submission, exams(lab, hidden=False), hide_values=False)) == expected, text
    assert verdicts(grade_with(Here(), submission, exams(lab, hidden=True))) == expected, text
    assert builtins.runs_of_training == [], "what no exercise needs is never run"


@pytest.mark.parametrize("lab", exercises.labs())
def test_an_untouched_lab_is_not_started_and_has_no_points(lab):
    results = grade_with(Here(), read_notebook(Path("labs") / f"{lab}.ipynb"), exams(lab, hidden=True))
    assert [(result.exercise.id, result.points, result.summary) for result in results] == [
        (exercise.id, 0, "Not started yet.") for exercise in exercises.of_lab(lab)
    ]


def graded(content, folder):
    """The results of a notebook of the first lab on hidden cases."""
    build.write(folder, {"any": content})
    return grade_with(Here(), read_notebook(folder / "any.ipynb"), exams("ch01_attention", hidden=True))


@pytest.mark.parametrize("name", good.CELLS)
def test_right_answers_get_full_points(name, tmp_path):
    for result in graded(good.CELLS[name], tmp_path):
        assert (result.outcome.value, result.points, result.mistake) == ("passed", result.exercise.points, None)


@pytest.mark.parametrize("name", wrong.WRONG)
def test_wrong_answers_get_less_and_are_named(name, tmp_path):
    content, id, words = wrong.WRONG[name]
    results = {result.exercise.id: result for result in graded(content, tmp_path)}
    found = results.pop(id)
    assert found.points < found.exercise.points
    assert all(result.points == result.exercise.points for result in results.values()), "an error counts once"
    if words:
        assert words in found.mistake
    else:
        assert found.diagnosis or found.summary
        assert found.mistake is None


TWO_THINGS = """\
def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = softmax(scores, dim=-1)
    return weights @ v, weights
"""
STUB = "def attention(q, k, v, mask=None):\n    raise NotImplementedError"
BY_JACOBIAN = """\
def influence(x, mask=None):
    jacobian = torch.autograd.functional.jacobian(lambda x: {}, x)
    return jacobian.norm(dim=(1, 3))
"""


@pytest.mark.parametrize(
    ("attention", "influence", "outcome", "note"),
    [
        (TWO_THINGS, "attention(x, x, x, mask)[0]", "passed", "your own `attention`, which did not pass"),
        (TWO_THINGS, "attention(x, x, x, mask)", "passed", "reference in place of `attention`"),
        (TWO_THINGS, "2 * attention(x, x, x, mask)[0]", "wrong", "reference in place of `attention`"),
        (TWO_THINGS.replace("softmax(scores", "softmax(0 * scores"), "attention(x, x, x, mask)[0]", "wrong", ""),
        (
            "def attention(q, k, v, mask=None):\n    raise NotImplementedError",
            "attention(x, x, x, mask)[0]",
            "wrong",
            "",
        ),
    ],
    ids=["fits its own", "fits the reference", "fits neither", "right beside nothing", "beside a stub"],
)
def test_an_answer_that_fits_its_own_earlier_one_is_right(attention, influence, outcome, note, tmp_path):
    cells = build.solved(attention=attention, influence=BY_JACOBIAN.format(influence))
    results = {result.exercise.id: result for result in graded(build.notebook(cells), tmp_path)}
    assert not results["attention"]
    assert results["influence"].outcome.value == outcome
    assert (results["influence"].points == results["influence"].exercise.points) is (outcome == "passed")
    assert note in " ".join(results["influence"].notes)


FLAT = "def split_heads(x, n_heads):\n    return x.reshape(*x.shape[:-1], n_heads, -1)"
UNFLAT = "def merge_heads(x):\n    return x.flatten(-2)"
IN_TWO = """\
class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))

    def forward(self, x, mask=None):
        parts = [split_heads(f(x), self.n_heads){} for f in (self.query, self.key, self.value)]
        return self.output(merge_heads(F.scaled_dot_product_attention(*parts, attn_mask=mask){}))
"""


@pytest.mark.parametrize(
    ("split", "merge", "after", "before"),
    [
        (FLAT, UNFLAT, ".transpose(-2, -3)", ".transpose(-2, -3)"),
        (FLAT, "def merge_heads(x):\n    return 0 * x", ".transpose(-2, -3)", ""),
        ("def split_heads(x, n_heads):\n    return 0 * x", UNFLAT, "", ".transpose(-2, -3)"),
    ],
    ids=["both", "the first", "the second"],
)
def test_of_two_earlier_answers_it_may_fit_either_or_both(split, merge, after, before, tmp_path):
    class_name = exercises.find("multi_head_attention").name
    source = IN_TWO.format(after, before).replace("class MultiHeadAttention", f"class {class_name}")
    cells = build.solved("ch01_heads", split_heads=split, merge_heads=merge, multi_head_attention=source)
    build.write(tmp_path, {"any": build.notebook(cells)})
    results = grade_with(Here(), read_notebook(tmp_path / "any.ipynb"), exams("ch01_heads", hidden=True))
    found = {result.exercise.id: result for result in results}
    assert not found["split_heads"]
    assert not found["merge_heads"]
    assert found["multi_head_attention"], found["multi_head_attention"].diagnosis


@pytest.mark.parametrize("lab", random.Random(1).sample(exercises.labs(), 3))
def test_the_real_worker_agrees(lab, tmp_path):
    submission = read(Written(lab, 3), tmp_path)
    here = verdicts(grade_with(Here(), submission, exams(lab, hidden=True)))
    with sandbox.Workers(sandbox.choose_level()) as workers:
        assert verdicts(grade(submission, exams(lab, hidden=True), workers)) == here


SOFTMAX = "# EXERCISE: softmax\ndef softmax(x, dim=-1):\n    return {}"
RIGHT = "torch.softmax(x, dim)"
OPEN = SOFTMAX.format("x")[:-8] + "raise NotImplementedError"


def result_of(*cells):
    """The result of `softmax` in a notebook of these cells."""
    marks = marks_in(cells)
    return grade_with(Here(), Notebook(list(cells), "", marks), exams("ch01_attention", hidden=False)[:1])[0]


@pytest.mark.parametrize(
    ("cells", "outcome", "note"),
    [
        ([OPEN], "not started", ""),
        ([OPEN.replace("raise", "x = x.exp()\n    raise")], "wrong", ""),
        ([SOFTMAX.format("torch.softmax(x.long(), dim)")], "wrong", ""),
        ([SOFTMAX.format("x"), "def softmax(x, dim=-1):\n    return " + RIGHT], "passed", "in a cell below"),
        ([SOFTMAX.format(RIGHT), "softmax = 3\nsoftmax = softmax + 1"], "passed", ""),
        ([SOFTMAX.format(RIGHT), "# EXERCISE: attention\ndef softmax(x):\n    return x"], "passed", ""),
        (["def softmax(x, dim=-1):\n    return " + RIGHT, "# EXERCISE: softmax\n"], "passed", "in a cell above"),
        ([SOFTMAX.format("x +"), "def softmax(x, dim=-1):\n    return " + RIGHT], "passed", "in a cell below"),
        (["def softmax(x, dim=-1):\n    return " + RIGHT, SOFTMAX.format("x +")], "not Python", ""),
        ([SOFTMAX.format("h(x, dim)"), "def h(x, d):\n    return torch.softmax(x, d)"], "passed", ""),
        (["h = torch.softmax", SOFTMAX.format("h(x, dim)"), "h = 3"], "passed", ""),
        (["EPS = 1 / 0", SOFTMAX.format("EPS and " + RIGHT)], "wrong", "Line 1 of code cell 2 was left out"),
        (["EPS = 1 / 0", SOFTMAX.format(RIGHT)], "passed", ""),
        (["X, Y = 2, 3", SOFTMAX.format(RIGHT) + "\nexit()\nprint(softmax(X))"], "passed", ""),
    ],
)
def test_which_cells_count(cells, outcome, note):
    result = result_of("import torch", *cells)
    assert (result.outcome.value, note in " ".join(result.notes), bool(result.notes)) == (outcome, True, bool(note))


def test_a_long_chain_of_names_is_resolved_in_no_time():
    chain = "\n".join(["x0 = 0", *(f"x{n + 1} = x{n}" for n in range(4990))])
    cells = ["import torch", *[chain] * 5, SOFTMAX.format("x4990 + " + RIGHT)]
    began = time.process_time()
    lab = exercises.of_lab("ch01_attention")[:1]
    statements = Statements(Notebook(cells, "", marks_in(cells)), lab, lambda source: Answer(analyse(source)))
    needed, _ = statements.needed(lab[0], [])
    assert len(needed) <= MOST_STATEMENTS + 5000
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("from course_lib.nn.attention import attention", ["course_lib.nn.attention.attention"]),
        (
            "from course_lib.nn import attention as lib\nattention = lib.attention",
            ["course_lib.nn.attention.attention"],
        ),
        ("from torch.nn.functional import softmax as attention", []),
        ("import torch\ndef attention(q, k, v):\n    return torch.relu(q)", []),
    ],
)
def test_an_answer_that_is_an_import_is_flagged(cell, found):
    cells = [f"# EXERCISE: attention\n{cell}"]
    exercise = exercises.find("attention")
    statements = Statements(Notebook(cells, "", marks_in(cells)), [exercise], lambda text: Answer(analyse(text)))
    names = statements.names_to_avoid(exercise, statements.needed(exercise, [])[0])
    assert [name for name in names if name.count(".") > 2] == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\ndef softmax(x, dim=-1):\n    os.kill(-1, 9)", ["os.kill"]),
        ("def softmax(x, dim=-1):\n    import subprocess as s\n    s.run('id')", ["subprocess.run"]),
        ("from socket import create_connection as c\ndef softmax(x, dim=-1):\n    c(('1.1.1.1', 53))",
         ["socket.create_connection"]),
        ("def softmax(x, dim=-1):\n    return eval(open('/etc/passwd').read())", ["eval", "open"]),
        ("def softmax(x, dim=-1):\n    return ().__class__.__base__.__subclasses__()",
         ["__class__.__base__.__subclasses__"]),
        ("import sys\nsignal = 2\ndef softmax(x, dim=-1):\n    return signal.mean() - sys.float_info.max", []),
        ("import os\nos.remove('x')\ndef softmax(x, dim=-1):\n    return x", []),  # it is no part of the answer
    ],
)  # fmt: skip
def test_what_reaches_out_of_an_answer_is_flagged(code, found):
    cells, exercise = [f"# EXERCISE: softmax\n{code}"], exercises.find("softmax")
    statements = Statements(Notebook(cells, "", marks_in(cells)), [exercise], lambda text: Answer(analyse(text)))
    assert statements.names_to_avoid(exercise, statements.needed(exercise, [])[0]) == found


@pytest.mark.parametrize("lab", exercises.labs())
def test_no_right_answer_reaches_out(lab):
    for exercise in exercises.of_lab(lab):
        for solution in (exercise.reference, *(other.solution for other in exercise.alternatives)):
            cells = [f"# EXERCISE: {exercise.id}\n{reference_source(replace(exercise, reference=solution))}"]
            statements = Statements(Notebook(cells, "", marks_in(cells)), [exercise], analysed)
            found = statements.names_to_avoid(exercise, statements._pieces)
            assert not [name for name in found if name.partition(".")[0] in sys.stdlib_module_names or "." not in name]


def test_check_says_when_grading_will_see_it_otherwise():
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    first = "import torch\nfrom course_lib.grader import check\nglobals()['LOST'] = 1\nKEPT = float('-inf')"
    define = SOFTMAX.format("KEPT and {} and " + RIGHT)
    cells = [
        (first + "\nsoftmax = lambda x, dim=-1: " + RIGHT, "needs a cell that begins with `# EXERCISE: softmax`"),
        (define.format("LOST"), "Grading will not find `LOST`, which your code uses"),
        (define.format("True"), None),
        (define.format("(True or exit)"), None),
        (
            "own = softmax\ndef softmax(x, dim=-1):\n    return own(x, dim)\nother, softmax = softmax, own",
            "If you have taken that line out",
        ),
        ("softmax = print", "you have passed another object"),
    ]
    sources = [f"{source}\ncheck('softmax', {'own' if 'print' in source else 'softmax'})" for source, _ in cells]
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=120).execute()
    for cell, (_, words) in zip(notebook.cells, cells, strict=True):
        (shown,) = (output.data["text/plain"] for output in cell.outputs)
        assert "visible checks passed" in shown
        assert (words in shown) if words else "rading will" not in shown


@pytest.mark.parametrize(
    ("ran", "words"),
    [
        ([SOFTMAX.format(RIGHT)], None),
        ([SOFTMAX.format("x +"), SOFTMAX.format(RIGHT)], None),
        (
            [SOFTMAX.format(RIGHT), SOFTMAX.format("(x +")],
            "ran last is not valid Python (SyntaxError at line 3: '(' was",
        ),
        ([OPEN, SOFTMAX.format("(x +")], "ran last is not valid Python (SyntaxError at line 3: '(' was"),
        ([OPEN, SOFTMAX.replace("def softmax", "def sofmax").format(RIGHT)], "ran last does not define `softmax`"),
        (
            [OPEN, SOFTMAX.replace("EXERCISE:", "EXERCISE").format(RIGHT)],
            "If you have taken that line out, put it back",
        ),
        ([OPEN, SOFTMAX.split("\n", 1)[1].format(RIGHT)], "If you have taken that line out, put it back"),
        (["def softmax(x, dim=-1):\n    return " + RIGHT, "# EXERCISE: softmax\n"], None),
    ],
)
def test_what_was_checked_is_older_than_the_cell(ran, words):
    namespace, cells = {}, ["import torch", *ran]
    for source in cells:
        with contextlib.suppress(SyntaxError):
            exec(source, namespace)
    found = difference(exercises.find("softmax"), namespace["softmax"], cells, namespace)
    assert words in found if words else found is None

"""The instant check, as a learner meets it in a notebook."""

import contextlib
import copy
import itertools
import math
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib import exercises
from course_lib.exercises import find
from course_lib.exercises.spec import Case, Exercise, Mistake, call, call_and_differentiate
from course_lib.grader import check, hint, render, timed, use
from course_lib.grader.compare import Kind, compare
from course_lib.grader.exam import Exam, Outcome
from course_lib.grader.inside import calls
from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.inside.cells import analyse
from course_lib.grader.inside.outcomes import Failure, Lost
from course_lib.grader.render import as_html, result_lines


@pytest.fixture(autouse=True)
def _fresh_hints():
    module = sys.modules["course_lib.grader.check"]
    module._failures.clear()
    module._asked.clear()


ENCODER = "encoder"


def reference_of(id):
    return find(id).reference


def softmax(x, dim=-1):
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


def test_right_answer(capsys):
    result = check("softmax", softmax)
    assert result
    text = capsys.readouterr().out
    assert "visible checks passed; grading uses fresh numbers" in text
    assert repr(result) == "<softmax: passed>"


def test_hints_come_in_stages_and_start_again_after_success(capsys):
    def wrong(x, dim=-1):
        return x

    texts = []
    for function in (wrong, wrong, wrong, softmax, wrong):
        check("softmax", function)
        texts.append(capsys.readouterr().out)
    assert ["Hint:" in t for t in texts] == [True, True, True, False, True]
    assert ["Second hint:" in t for t in texts] == [False, True, True, False, False]


def test_an_answer_that_is_compiled_is_checked_as_it_is_written(capsys):
    """To compile it would take longer than the checks may."""
    began = time.process_time()
    assert check("softmax", torch.compile(softmax))
    assert not check("softmax", torch.compile(lambda x, dim=-1: 2 * softmax(x, dim)))
    assert "every number is 2 times the right one" in capsys.readouterr().out
    assert time.process_time() - began < 10


def test_not_started(capsys):
    def softmax(x, dim=-1):
        raise NotImplementedError

    for _ in range(2):
        assert not check("softmax", softmax)
        text = capsys.readouterr().out
        assert "not started yet" in text
        assert "int:" not in text, "nothing has been tried yet"
        assert "wrong" not in text

    check("softmax", lambda x, dim=-1: x)
    assert "Second hint" not in capsys.readouterr().out, "an open stub is no failed try"


def of_torch(x, dim=-1):
    return torch.softmax(x.long(), dim)


def half_finished(x, dim=-1):
    x.exp()
    raise NotImplementedError


def written_below(x, dim=-1):
    """Softmax."""
    raise NotImplementedError("later")
    return x.softmax(dim)


def in_a_branch(x, dim=-1):
    if dim == -1:
        raise NotImplementedError("my own words")
    return x


def normalise(e, dim):
    raise NotImplementedError("later")


def with_a_helper(x, dim=-1):
    return normalise(x.exp(), dim)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (of_torch, "`return torch.softmax(x.long(), dim)`: NotImplementedError: "),
        (of_torch, "not implemented for 'Long'"),
        (half_finished, "`raise NotImplementedError` still stands in line"),
        (written_below, "`raise NotImplementedError` still stands in line"),
        (in_a_branch, ": NotImplementedError: my own words"),
        (with_a_helper, "it calls `normalise`, which is not written yet. Write that one first."),
    ],
)
def test_work_that_has_begun_is_started(function, words, capsys):
    assert not check("softmax", function)
    text = capsys.readouterr().out
    assert words in text
    assert "not started" not in text


MISSING_FORWARD = "has no method called `forward`"


def test_a_layer_without_forward_is_started(capsys):
    class MultiHeadAttention(reference_of("multi_head_attention")):
        forward = nn.Module.forward

        def forwad(self, x, mask=None):
            return x

    assert not check("multi_head_attention", MultiHeadAttention)
    text = capsys.readouterr().out
    assert MISSING_FORWARD in text
    assert "not started" not in text


class OneMethodWritten(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        for name in ("query", "key", "value", "output"):
            setattr(self, name, nn.Linear(d_model, d_model, bias=False))

    def forward(self, x, mask=None):
        raise NotImplementedError


class NoSuper(nn.Module):
    def __init__(self, d_model, n_heads):
        self.query = nn.Linear(d_model, d_model, bias=False)


class InAList(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.layers = [nn.Linear(d_model, d_model, bias=False) for _ in range(4)]

    def forward(self, x, mask=None):
        return x


def no_class(d_model, n_heads):
    return lambda x, mask=None: x


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (OneMethodWritten, "it calls `forward`, which is not written yet. Write that one first."),
        (NoSuper, "Begin `__init__` with `super().__init__()`."),
        (InAList, "they are none. Make each layer in `__init__` and keep it there"),
        (no_class, "it asks for a class, `class MultiHeadAttention`, and what came is a function."),
    ],
)
def test_a_layer_that_is_not_ready_says_what_is_missing(layer, words, capsys):
    assert not check("multi_head_attention", layer)
    text = capsys.readouterr().out
    assert words in text
    assert "not started" not in text


class OneInput(nn.Module):
    def __init__(self, n_symbols, n_context, d_embedding, d_hidden):
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, d_embedding)
        self.hidden = nn.Linear(d_embedding, d_hidden)
        self.output = nn.Linear(d_hidden, n_symbols)

    def forward(self, ids):
        return self.output(torch.relu(self.hidden(self.embedding(ids).flatten(1))))


def test_a_class_in_the_place_of_a_function_is_told_so(capsys):
    class softmax:
        pass

    assert not check("softmax", softmax)
    assert "it asks for a function, `def softmax`, and what came is a class." in capsys.readouterr().out


def test_a_layer_whose_methods_are_all_stubs_is_not_started(capsys):
    class MultiHeadAttention(nn.Module):
        """Project."""

        def __init__(self, d_model, n_heads):
            raise NotImplementedError

        def forward(self, x, mask=None):
            raise NotImplementedError

    assert not check("multi_head_attention", MultiHeadAttention)
    assert "not started" in capsys.readouterr().out


def test_an_earlier_stub_that_is_open_is_named(capsys):
    def split_heads(x, n_heads):
        raise NotImplementedError

    class MultiHeadAttention(reference_of("multi_head_attention")):
        def forward(self, x, mask=None):
            return split_heads(self.query(x), self.n_heads)

    assert not check("multi_head_attention", MultiHeadAttention)
    text = capsys.readouterr().out
    assert "it calls `split_heads`, which is not written yet" in text
    assert "not started" not in text


def test_a_method_without_self_is_told_so(capsys):
    class MultiHeadAttention(reference_of("multi_head_attention")):
        def forward(x, mask=None):
            return x

    check("multi_head_attention", MultiHeadAttention)
    assert "Write `def forward(self, x, mask=None)`: `self` comes first" in capsys.readouterr().out


def test_a_class_that_is_no_module_is_told_so(capsys):
    class MultiHeadAttention:
        def __init__(self, d_model, n_heads):
            pass

    check("multi_head_attention", MultiHeadAttention)
    assert "it is no layer of torch. Begin it with `class MultiHeadAttention(nn.Module):`" in capsys.readouterr().out


@pytest.mark.parametrize("caught", [ZeroDivisionError, Exception])
def test_an_endless_loop_ends_in_a_sentence(caught, capsys, monkeypatch):
    def softmax(x, dim=-1):
        while True:
            try:
                dim = dim + 1
            except caught:
                continue

    monkeypatch.setattr(timed, "CALL", 0.2)
    before = signal.getsignal(signal.SIGALRM), bool(signal.getitimer(signal.ITIMER_REAL)[0])
    assert not check("softmax", softmax)
    text = capsys.readouterr().out
    assert (
        "it computed for more than 0.2 s and was stopped. Is there a loop that never ends, or a much quicker way?"
        in text
    )
    assert text.count("✗ wrong ") == 1
    assert text.count("○ not run") == 5
    assert (signal.getsignal(signal.SIGALRM), bool(signal.getitimer(signal.ITIMER_REAL)[0])) == before


def test_use_does_not_wait_for_what_check_has_stopped(monkeypatch):
    calls = []

    def softmax(x, dim=-1):
        calls.append(1)
        while True:
            pass

    monkeypatch.setattr(timed, "CALL", 0.2)
    check("softmax", softmax)
    assert use("softmax", softmax) is reference_of("softmax")
    assert len(calls) == 1


def test_a_wait_ends_in_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(timed, "CLOCK", 0.3)
    assert not check("softmax", lambda x, dim=-1: time.sleep(1000))
    assert "the checks took longer than 0.3 s together and were stopped" in capsys.readouterr().out


def stops_at_dim_1(x, dim=-1):
    while dim == 1:
        pass
    return softmax(x, dim)


def wrong_then_stops(x, dim=-1):
    return stops_at_dim_1(x, dim) * 2


def softmax_that_goes_on(x, dim=-1):
    with contextlib.suppress(BaseException):
        while True:
            pass
    return x.softmax(dim)


def softmax_that_fails_after(x, dim=-1):
    with contextlib.suppress(BaseException):
        while True:
            pass
    raise ValueError("the loop has ended")


@pytest.mark.parametrize("function", [softmax_that_goes_on, softmax_that_fails_after])
def test_a_stop_that_was_caught_is_said_all_the_same(function, capsys, monkeypatch):
    monkeypatch.setattr(timed, "CALL", 0.2)
    assert not check("softmax", function)
    text = capsys.readouterr().out
    assert "computed for more than 0.2 s" in text
    assert "the loop has ended" not in text


@pytest.mark.parametrize(("function", "passed"), [(stops_at_dim_1, 2), (wrong_then_stops, 0)])
def test_what_has_been_stopped_is_not_said_to_vary(function, passed, capsys, monkeypatch):
    monkeypatch.setattr(timed, "CALL", 0.2)
    assert not check("softmax", function)
    text = capsys.readouterr().out
    assert "two different answers" not in text
    assert text.count("✓ passed") == passed
    assert ("computed for more than 0.2 s" if passed else "2 times the right one") in text


def test_checks_that_end_late_are_said_to_take_long_and_not_to_vary(capsys, monkeypatch):
    monkeypatch.setattr(timed, "CLOCK", 0.5)
    calls = iter(range(10**6))
    cases = len(Exam(find("softmax")).cases)
    assert not check("softmax", lambda x, dim=-1: time.sleep(next(calls) == cases) or softmax(x, dim))
    text = capsys.readouterr().out
    assert "the checks took longer than 0.5 s together and were stopped" in text
    assert "two different answers" not in text


def test_a_first_case_keeps_its_points_when_others_end_their_process():
    class Dying(LocalSubject):
        """As in grading: after two deaths nothing more is run."""

        asked = 0

        def send(self, *request):
            self.asked += 1
            if self.asked > 1:
                raise Failure(Lost.TIMED_OUT, limit=4)
            return super().send(*request)

    exam = Exam(find("softmax"))
    result = exam.grade(Dying(softmax))
    assert list(result.checks.values()) == [True, *[False] * (len(exam.cases) - 1)]
    assert "computed for more than 4 s" in result.diagnosis


def test_much_that_is_printed_is_cut_short(capsys):
    def chatty(x, dim=-1):
        for i in range(1000):
            print("line", i)
        return softmax(x, dim)

    assert check("softmax", chatty)
    text = capsys.readouterr().out
    assert 100 <= text.count("line ") <= 101
    assert f"... and {1000 * (1 + len(Exam(find('softmax')).cases)) - 100:,} more lines" in text
    assert use("softmax", chatty) is chatty
    assert capsys.readouterr().out == ""


def test_a_loop_that_prints_without_end_leaves_the_message_legible(capsys, monkeypatch):
    def endless(x, dim=-1):
        while True:
            print("x" * 50, end="")

    monkeypatch.setattr(timed, "CALL", 0.2)
    assert not check("softmax", endless)
    text = capsys.readouterr().out
    assert len(text) < 13_000
    assert "it computed for more than 0.2 s" in text


def test_a_string_is_not_the_same_object_here_either():
    """`kind is "encoder"` works by chance where the string was made in the same process, and in grading it is not."""
    right = reference_of("make_mask")

    def make_mask(kind, n, prefix=0):
        return right("encoder" if kind is ENCODER else kind if kind != ENCODER else "decoder", n, prefix)

    assert not check("make_mask", make_mask)


def test_what_python_has_warned_of_is_not_said_twice():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        analyse('if x is "encoder": pass')
    assert not said


def test_a_list_without_end_ends_in_a_sentence(capsys, monkeypatch):
    def render_chat(messages, ask=False):
        for m in messages:
            messages.append({**m})

    monkeypatch.setattr(timed, "GROWTH", 2**26)
    assert not check("render_chat", render_chat)
    assert (
        "it used more than 64 MB of memory. Your code also changed the argument `messages`" in capsys.readouterr().out
    )
    assert not check("softmax", lambda x, dim=-1: list(itertools.combinations(range(2000), 700)))
    assert "it used more than 64 MB of memory" in capsys.readouterr().out, "a single call of C, where no signal arrives"
    monkeypatch.setattr(calls, "plain", lambda value: pytest.fail("a list that has grown is not read"))
    assert not calls._unchanged([{"a": "b"}], [{"a": "b"}] * 2)


def test_a_change_in_place_that_data_hides_is_no_wrong_gradient(capsys):
    def ablate_head(w_o, head, n_heads):
        head_dim = w_o.shape[1] // n_heads
        w_o.data[:, head * head_dim : (head + 1) * head_dim] = 0
        return w_o

    assert not check("ablate_head", ablate_head)
    text = capsys.readouterr().out
    assert "the argument `w_o` was changed in place" in text
    assert "gradient" not in text


def test_a_ready_made_function_passes_and_is_named(capsys):
    imported = {}
    exec(
        "from torch.nn.functional import layer_norm\n"
        "def by_import(x, gain, bias, eps=1e-5):\n    return layer_norm(x, x.shape[-1:], gain, bias, eps)\n"
        "from torch import softmax as sm\n"
        "def by_another_name(x, dim=-1):\n    return sm(x, dim)",
        imported,
    )

    def layer_norm(x, gain, bias, eps=1e-5):
        return nn.functional.layer_norm(x, x.shape[-1:], gain, bias, eps)

    for function in (layer_norm, imported["by_import"]):
        assert check("layer_norm", function)
        assert "it calls `layer_norm`, and the point of the exercise is to do without" in capsys.readouterr().out
    assert check("softmax", imported["by_another_name"])
    assert "it calls `sm`, and the point" in capsys.readouterr().out
    assert check("layer_norm", by_hand)
    assert "it calls" not in capsys.readouterr().out


def by_hand(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return gain * centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() + bias


def test_passed_and_wrong_look_different():
    results = {name: check("softmax", f).result for name, f in (("right", softmax), ("wrong", lambda x, dim=-1: x))}
    right, wrong = (result_lines(results[name]) for name in ("right", "wrong"))
    assert right[0].startswith("✓ softmax: all")
    assert wrong[0].startswith("✗ softmax: not right yet")
    assert any(line.startswith("  ✗ wrong ") for line in wrong)
    assert "dashed" in as_html(wrong)
    assert "<li><strong>✗ wrong" in as_html(wrong)
    assert "dashed" not in as_html(right)
    half = Exam(SCALE, 5).grade(LocalSubject(Scale))
    half.outcome, half.checks = Outcome.WRONG, {"one": True, "two": False}
    assert "<li>✓ passed: one</li><li><strong>✗ wrong: two</strong></li>" in as_html(result_lines(half))


def test_where_to_read_is_a_link(monkeypatch, tmp_path):
    paper = as_html(["first", "Where to read: Vaswani et al. 2017, section 3.5."])
    assert 'Where to read: <a href="https://arxiv.org/abs/1706.03762">Vaswani' in paper
    assert "<p>Where to read: Chapter 1, Nowhere.</p>" in as_html(["first", "Where to read: Chapter 1, Nowhere."])
    (tmp_path / "_config.yml").write_text('repository:\n  url: "https://github.com/o/n"\n  branch: "main"\n')
    shutil.copytree("book", tmp_path / "book", ignore=shutil.ignore_patterns("_*"))
    monkeypatch.setattr(render, "ROOT", tmp_path)
    for exercise in map(find, (id for slug in exercises.labs() for id in exercises.lab(slug).exercises)):
        assert render.address(exercise.see), f"{exercise.id}: nothing is called {exercise.see!r}"


def test_an_exception_is_one_sentence_with_the_learners_line(capsys):
    def softmax(x, dim=-1):
        y = x.t()
        return y @ y

    check("softmax", softmax)
    text = capsys.readouterr().out
    assert "`return y @ y`: RuntimeError: mat1 and mat2 shapes cannot be multiplied" in text
    assert "Traceback" not in text
    assert "File" not in text


def test_hints_come_when_asked_for(capsys):
    for shown in (["Hint: "], ["Hint: ", "Second hint: "]):
        hint("softmax")
        assert re.findall("^.*int: ", capsys.readouterr().out, re.MULTILINE) == shown
    hint("sofmax")
    assert "did you mean 'softmax'?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        (
            "error_kind",
            lambda *given: "no answer",
            "The call: `error_kind(said='dog', right='dog', shown=['dog', ",
        ),
        (
            "error_kind",
            lambda said, right, shown, names: said / right,
            "The call: `error_kind(said='dog', right='dog', ",
        ),
        (
            "part_of",
            lambda *given: "train",
            "The call: `part_of(artist='ann', concept='red heart', family_of={'red heart':",
        ),
        ("share_interval", lambda right, asked: (0.0, 1.0), "The call: `share_interval(right=0, asked=20)`"),
        ("choose_trial", lambda trials, budget: "x", "{'name': 'trial "),
        ("softmax", lambda x, dim=-1: x, "The call: `softmax(x=tensor([["),
        ("memories", lambda x, keys, bias, values: x, " in all)], shape ("),
        ("best_rate", lambda steepness: 1.0, "The call: `best_rate(steepness=[1, 3])`"),
        ("letter_model", OneInput, "`LetterModel(n_symbols=4, n_context=2, d_embedding=3, d_hidden=5)`"),
    ],
)
def test_a_failed_check_shows_its_call(id, answer, words, capsys):
    assert not check(id, answer)
    text = capsys.readouterr().out
    assert words in text
    assert max(map(len, text.split("\n"))) < 700
    assert Exam(find(id), 7).grade(LocalSubject(answer), hide_values=True).call is None


def test_who_appends_to_a_list_is_told_how_to_copy_a_list(capsys):
    def part_of(artist, concept, family_of, held_out, new_artist):
        held_out.append(concept)
        return "train"

    check("part_of", part_of)
    assert "Your code also changed the argument `held_out` in place" in capsys.readouterr().out

    def part_of(artist, concept, family_of, held_out, new_artist):
        held_out.append("x")
        held_out.remove("x")
        held_out.reverse()
        return reference_of("part_of")(artist, concept, family_of, held_out, new_artist)

    check("part_of", part_of)
    text = capsys.readouterr().out
    assert "as `list(x)` or `sorted(x)` make it; `x + [y]` is a new list, too." in text
    assert "sub_" not in text


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, BaseException])
def test_no_exception_of_theirs_gets_out(error, capsys):
    def softmax(x, dim=-1):
        raise error

    assert not check("softmax", softmax)
    assert error.__name__ in capsys.readouterr().out


@pytest.mark.parametrize("asked", [check, use])
def test_keyboard_interrupt_gets_out_without_our_frames(asked):
    def softmax(x, dim=-1):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        asked("softmax", softmax)
    ours = [entry for entry in caught.traceback if "__tracebackhide__" not in entry.frame.f_locals]
    assert [Path(entry.path).name for entry in ours] == [Path(__file__).name]


def test_another_default_device_is_a_sentence(capsys):
    torch.set_default_device("meta")
    try:
        assert not check("softmax", softmax)
    finally:
        torch.set_default_device(None)
    assert 'Run `torch.set_default_device("cpu")` first' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda x, dim: -x.softmax(dim), "every sign is flipped"),
        (lambda x, dim: x.softmax(dim) * 0.5, "0.5 times the right one"),
        (lambda x, dim: x.softmax(dim) + 1, "off by the same amount"),
        (lambda x, dim: x.softmax(dim).double(), "float32 are expected, and float64"),
        (lambda x, dim: x.softmax(dim).transpose(-1, -2), "It looks transposed"),
        (lambda x, dim: x.softmax(dim)[None], "the shape (3, 5) is expected, and (1, 3, 5)"),
        (lambda x, dim: x.softmax(dim).detach(), "No gradient flows from the result back to the argument `x`"),
        (lambda x, dim: x.softmax(dim).tolist(), "a tensor is expected, and a list or tuple came back"),
        (lambda x, dim: x.softmax(dim).detach().numpy(), "a NumPy array came back"),
        (lambda x, dim: None, "Is a `return` missing?"),
        (lambda x, dim: x.softmax(dim) * float("nan"), "the result is nan at index [0, 0]"),
        (lambda x, dim: x.sub_(1).softmax(dim), "the argument `x` was changed in place"),
        (lambda x, dim: x.sub_(1).softmax(dim), "Work on a copy: `x -= y`, `x[i] = y`, "),
        (lambda x, dim: ..., "`...` came back: there is something left to write in its place"),
        (lambda x, dim: x.softmax(dim) * (1 + 1e-3 * x.softmax(dim)), "Is a small number added"),
        (lambda x, dim: x.softmax(dim).bfloat16().float(), "or a result rounded?"),
        (lambda x, dim: x.softmax(dim).add_(1), "a tensor is changed in place, and its gradients need it"),
        (lambda x, dim: x.softmax(dim).index_fill_(0, torch.tensor(0), 0), "no `x[i] = y`; or change a copy"),
        (lambda x, dim: x.softmax(dim) * 0, "every number is zero"),
        (lambda x, dim: copy.copy(x).div_(2).softmax(dim), "`x.clone()` makes a copy of a tensor"),
        (lambda x, dim: copy.deepcopy(x).softmax(dim), "`x.clone()` makes a copy of a tensor"),
        (lambda x, dim: (softmax(x, dim) + softmax(x.detach(), dim)) / 2, "All values are right. Is a part"),
        (lambda x, dim: object(), "of type object was returned"),
        (lambda x, dim: x.sum, "a function came back, and not its result. Are the brackets missing that call it?"),
        (lambda x, dim: (row for row in x), "a generator came back: `yield` makes one."),
        (lambda x, dim: [x.softmax(dim)], "a list or tuple came back with one inside. Is there a comma behind it"),
        (lambda x, dim: x.tolist(), "a list or tuple came back."),
        (lambda x, dim: x.softmax(dim).cumsum(dim), "first wrong at index"),
        (lambda x, dim: x - x.max(dim), "`x.amax` and `x.amin` return the numbers alone"),
        (lambda x, dim: x.exp() if x > 0 else x, "and this tensor holds many"),
        (lambda x, dim: x.exp().mul_(torch.ones(2, 1, 1)), "`nonzero()` of a column has the shape (n, 1)"),
        (lambda x, dim: x.exp() / x.exp().sum(dim), "`keepdim=True` keeps an axis that was averaged or summed"),
        (lambda x, dim: (x.exp()[..., None] / x.exp())[0], "`x.squeeze(-1)` takes one of size 1 away"),
        (lambda x, dim: x @ x, "is a transpose missing"),
        (lambda x, dim: [1, 2][3], "the last i has no neighbour"),
        (lambda x, dim: x[:, x.shape[1]], "the last i has no next one"),
        (lambda x, dim: x / len(()) if (1 / len(())) else x, "What is asked for in that case?"),
        (lambda x, dim: x.softmax(dim).tolist(), "`torch.stack(...)` one of a list of tensors"),
        (lambda x, dim: x.softmax(dim).double(), "`x.to(torch.float32)` converts them."),
        (lambda x, dim: x.softmax(dim)[None], "The numbers are right, and in this order"),
    ],
)
def test_generic_diagnosis(body, words, capsys):
    assert not check("softmax", lambda x, dim=-1: body(x, dim))
    text = capsys.readouterr().out.rpartition("Error: ")[2]  # before an error stands its line, which holds the words
    assert words in text or words.capitalize() in text


@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        ("rank_residual", lambda x: 2**70, "expected 0.81393, got 1180591620717411303424."),
        ("masked_loss", lambda logits, ids, mask: 2**70, "got 1180591620717411303424."),
        ("layer_norm", lambda x, gain, bias, eps=1e-5: 2**70, "the shape (3, 8) is expected, and () came back"),
        ("merge_pair", lambda ids, pair, new: [10**30] * 6, "result[0]: expected 5, got 1" + 30 * "0"),
        ("merge_pair", lambda ids, pair, new: [-(2**63), 2**63], "6 entries are expected, and 2 came back"),
        ("bradley_terry_loss", lambda chosen, rejected: chosen - rejected, "One number is asked for."),
        ("layer_parameters", lambda d, f: parameters(d, d**f + f**d), "expected 148, got 4295032832."),
        ("layer_parameters", lambda d, f: parameters(d, 10**200), f"got 1{39 * '0'}... (201 digits)"),
        ("layer_parameters", lambda d, f: parameters(d, 10**5000), "an integer of about 5,000 digits came back."),
    ],
)
def test_an_integer_too_long_for_torch_is_one_more_wrong_number(id, answer, words, capsys):
    assert not check(id, answer)
    assert words in capsys.readouterr().out
    assert use(id, answer) is reference_of(id)
    assert Exam(find(id), seed=77).grade(LocalSubject(answer)).outcome is Outcome.WRONG


def test_names_where_an_empty_dict_is_expected(capsys):
    assert not check("unsupported_claims", lambda claims: {"all": "bad"})
    assert "an empty dict is expected, and `all` came back" in capsys.readouterr().out


def parameters(d_model, feed_forward):
    return {"attention": 4 * d_model * (d_model + 1), "feed_forward": feed_forward, "norms": 4 * d_model}


def test_integers_too_long_for_torch_are_equal_or_not():
    assert compare([2**70], [2**70], 0, 0) is None
    assert compare(2.0**70, 2**70, 0, 0) is None
    assert compare(1e25, 10**25, 1e-15, 0) is None, "1e25 itself is rounded"
    assert compare(1e25, 10**25, 0, 0).kind == compare(1.0, 10**400, 1e-6, 0).kind == Kind.VALUE
    assert compare(2**70, 2**70 + 1, 0, 0).kind == Kind.VALUE


def test_a_dict_whose_keys_are_tuples_is_a_dict(capsys):
    assert not check("learn_merges", lambda words, n_merges: {(97, 98): 256})
    assert "a list or tuple is expected, and a dict came back" in capsys.readouterr().out


def test_none_that_was_meant_is_no_missing_return(capsys):
    def choose_trial(trials, budget):
        return None

    assert not check("choose_trial", choose_trial)
    text = capsys.readouterr().out
    assert "it returned None where a string is expected." in text
    assert "missing" not in text


def test_a_return_that_one_way_lacks_is_asked_for(capsys):
    def best_rate(steepness):
        if len(steepness) > 2:
            return reference_of("best_rate")(steepness)

    assert not check("best_rate", best_rate)
    assert "Is there a way through your code without a `return`?" in capsys.readouterr().out


def test_who_returns_what_sort_returns_is_told_so(capsys):
    assert not check("fair_pairs", lambda arms, question: reference_of("fair_pairs")(arms, question).sort())
    assert (
        "Is a `return` missing? `x.sort()` and `x.append(y)` change a list, and return None." in capsys.readouterr().out
    )


def test_what_was_changed_in_place_is_told_beside_a_wrong_value(capsys):
    def rank_residual(x):
        x -= x.mean(0)
        return x.norm() / x.norm()

    assert not check("rank_residual", rank_residual)
    text = capsys.readouterr().out
    assert "expected 0.81393, got 1. Your code also changed the argument `x` in place, which may be why." in text


def test_a_change_inside_a_copied_list_is_told_so(capsys):
    def learn_merges(words, n_merges):
        right = reference_of("learn_merges")(words, n_merges)
        for word in words.copy():
            word[0] = []
        return right

    assert not check("learn_merges", learn_merges)
    text = capsys.readouterr().out
    assert "`x.copy()` and `list(x)` still hold the same lists or dicts inside" in text
    assert "sub_" not in text


chat = reference_of("render_chat")
flops = reference_of("training_flops")


@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        ("masked_loss", lambda *given: reference_of("masked_loss")(*given) * 1.0008, "expected 2.4308, got 2.4327"),
        ("masked_loss", lambda *given: reference_of("masked_loss")(*given) * 1.00008, "Is a small number added"),
        ("reply_mask", lambda ids, opening, end: ids < 0, "every entry is False. First wrong at index [8]"),
        ("render_chat", lambda messages, ask=False: chat(messages, ask) if ask else "", "an empty string came back, "),
        ("render_chat", lambda messages, ask=False: 90 * "x", ": expected '<|im_start|>"),
    ],
)
def test_a_wrong_value_is_described_as_what_it_is(id, answer, words, capsys):
    assert not check(id, answer)
    text = capsys.readouterr().out
    assert words in text
    assert ("small number" in text) == ("small number" in words)
    assert "0 characters" not in text


@pytest.mark.parametrize(("scale", "advised"), [(1, True), (2, False)])
def test_right_numbers_that_are_no_whole_ones_are_told_how_to_become_whole(scale, advised, capsys):
    assert not check("training_flops", lambda *given, **named: scale * float(flops(*given, **named)))
    text = capsys.readouterr().out
    assert "numbers of type int are expected, and float came back." in text
    assert ("The values are right. `//` in place of `/`" in text) == advised


def test_torch_does_not_recommend_detach_where_gradients_are_asked_for():
    def softmax(x, dim=-1):
        warnings.warn("Converting a tensor with requires_grad=True to a scalar may lead to ...", stacklevel=1)
        return x

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check("softmax", softmax)
    assert not said


def test_reading_all_of_the_text_for_each_token_takes_too_long(capsys, monkeypatch):
    """It would take hours in the lab; there nobody would know why."""

    def bigram_surprise(train, test, vocab_size):
        firsts, pairs = train[:-1].tolist(), list(itertools.pairwise(train.tolist()))
        p = [
            (pairs.count(pair) + 1) / (firsts.count(pair[0]) + vocab_size) for pair in itertools.pairwise(test.tolist())
        ]
        return -torch.tensor(p).log()

    monkeypatch.setattr(timed, "CALL", 0.5)
    assert not check("bigram_surprise", bigram_surprise)
    text = capsys.readouterr().out
    assert "or a much quicker way?" in text
    assert text.count("✓ passed") == 4


def test_an_answer_that_varies_is_said_to_vary(capsys):
    calls = iter(range(10**6))
    assert not check("softmax", lambda x, dim=-1: x.softmax(dim) + next(calls))
    assert "two different answers" in capsys.readouterr().out


def test_rounding_that_varies_is_no_other_answer():
    """As of a sum whose threads take turns: the last bits differ from call to call."""
    calls = iter(range(10**6))
    assert check("softmax", lambda x, dim=-1: x.softmax(dim) * (1 + 1e-7 * (next(calls) % 2)))


def test_wrong_parameters(capsys):
    assert not check("softmax", lambda: 1)
    assert "It must be callable as `softmax(x, dim=-1)`" in capsys.readouterr().out


def test_use_gives_back_what_passes_and_says_nothing(capsys):
    assert use("softmax", softmax) is softmax
    assert capsys.readouterr().out == ""


def test_use_stands_in_for_what_does_not_and_check_refuses_the_stand_in(capsys):
    stand_in = use("softmax", lambda x, dim=-1: x)
    assert "the reference stands in for your softmax" in capsys.readouterr().out
    x = torch.randn(3, 4)
    assert torch.allclose(stand_in(x, dim=0), x.softmax(0))
    assert not check("softmax", stand_in)
    assert "this is the reference that `use` put in the place of yours" in capsys.readouterr().out
    assert not hasattr(use("softmax", stand_in), "wrong")


def test_use_of_a_class(capsys):
    stand_in = use("multi_head_attention", None)
    assert isinstance(stand_in, type)
    assert issubclass(stand_in, nn.Module)
    assert not check("multi_head_attention", stand_in)
    assert "`use` put in the place" in capsys.readouterr().out

    class Own(stand_in):
        """A class that a learner derives from the stand-in is not the stand-in."""

    check("multi_head_attention", Own)
    assert "`use` put in the place" not in capsys.readouterr().out


def test_things_that_are_no_candidates(capsys):
    assert not check("softmax", softmax(torch.ones(2, 2)))
    assert "hand over the function itself" in capsys.readouterr().out
    assert not check("sofmax", softmax)
    assert "did you mean 'softmax'?" in capsys.readouterr().out
    assert use("sofmax", softmax) is softmax
    assert "did you mean 'softmax'?" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(softmax, "softmax"), (["softmax"], softmax), (softmax,)])
def test_an_id_that_does_not_come_first(arguments, capsys):
    assert not check(*arguments)
    assert 'comes first, in quotes, then the function or class itself, such as `check("softmax", softmax)`.' in (
        capsys.readouterr().out
    )
    assert use(*arguments) is softmax
    assert 'such as `use("softmax", softmax)`.' in capsys.readouterr().out


def test_an_id_alone(capsys):
    assert not check("softmax")
    text = capsys.readouterr().out
    assert 'hand over the function itself, `check("softmax", softmax)`, without calling it.' in text
    assert "NoneType" not in text


def test_the_kernels_random_numbers_and_settings_are_untouched():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check("softmax", softmax)
    check("logit_variance", lambda d, n_samples=10: 0.0)
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()


def test_a_check_imports_one_exercise_and_no_other_room():
    code = (
        "import sys; from course_lib.grader import check; check('softmax', lambda x, dim=-1: x);"
        "rooms = {m.split('.')[1] for m in sys.modules if m.startswith('course_lib.')};"
        "found = [m.split('.', 2)[2] for m in sys.modules if m.startswith('course_lib.exercises.ch')];"
        "found = [name for name in found if '.' in name];"
        "print(sorted(rooms), found, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['exercises', 'grader'] ['ch01_attention.softmax'] False"


def test_in_jupyter_it_is_shown_as_html_and_once():
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    source = "from course_lib.grader import check\ncheck('softmax', lambda x, dim=-1: x)"
    notebook = new_notebook(cells=[new_code_cell(source), new_code_cell(source + ";")])
    NotebookClient(notebook, timeout=120).execute()
    for cell in notebook.cells:
        shown = [o for o in cell.outputs if o.output_type in ("display_data", "execute_result")]
        assert len(shown) == 1
        assert set(shown[0].data) == {"text/plain", "text/html"}
        assert 'role="status"' in shown[0].data["text/html"]
        assert "<li><strong>✗ wrong" in shown[0].data["text/html"]


# A class, called through a handle


class Scale(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * self.weight


def run_case(subject, weight, x):
    layer = subject.new(len(weight))
    layer.set_state({"weight": weight})
    return {"called": layer.call(x), "gradient": layer.gradients(x)}


def test_a_wrong_value_is_told_before_a_wrong_gradient_of_another_case():
    class Wrong(Scale):
        def forward(self, x):
            return x.detach() * self.weight if len(x) == 2 else 2 * x * self.weight

    cases = [Case(f"{n} rows", (torch.ones(3), torch.ones(n, 3))) for n in (2, 4)]
    gradients = replace(SCALE, cases=lambda rng: cases, run_case=lambda subject, w, x: subject.new(len(w)).gradients(x))
    told = Exam(gradients, 5).grade(LocalSubject(Wrong)).diagnosis
    assert told.startswith('In the check "4 rows": every number is 2 times the right one')


def planted(reference, *mistakes, cases=None, run_case=call_and_differentiate):
    """An exercise with these mistakes, each with its name for a message."""
    usual = [Case(f"{n} rows", (torch.arange(3.0 * n).view(n, 3),)) for n in (2, 4)]
    return Exercise(
        id="planted", title="", points=1, minutes=1, difficulty=1, hints=("a", "b"), reference=reference, see="",
        kind="code", cases=lambda rng: cases or usual, run_case=run_case,
        mistakes=tuple(Mistake(mistake, mistake.__name__) for mistake in mistakes),
    )  # fmt: skip


def named(exercise, answer):
    return Exam(exercise).grade(LocalSubject(answer)).mistake


def double(x):
    return 2 * x


def detached(x):
    return 2 * x.detach()


def tripled(x):
    return 3 * x


def tripled_if_many(x):
    return 3 * x if len(x) > 2 else 2 * x


def test_a_mistake_is_named_if_it_gives_all_answers_and_no_others():
    exercise = planted(double, detached, tripled, tripled_if_many)
    assert named(exercise, detached) == "detached"
    assert named(exercise, lambda x: 3 * x) == "tripled"
    assert named(exercise, lambda x: 3 * x if len(x) == 4 else x + x) == "tripled_if_many"
    assert named(exercise, lambda x: 3 * x if len(x) == 2 else 2 * x) is None, "where it is right, the mistake is not"
    assert named(exercise, lambda x: 3 * x if len(x) == 2 else 2 * x.detach()) is None, "two mistakes, a part each"


def fails_if_many(x):
    if len(x) > 2:
        raise ValueError("too many")
    return 3 * x


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (fails_if_many, "fails_if_many"),
        (tripled, "tripled"),
        (lambda x: 3 * x if len(x) == 2 else x["many"], None),
        (lambda x: 2 * x if len(x) == 2 else fails_if_many(x), None),
    ],
)
def test_a_crash_is_told_as_a_crash(answer, mistake):
    assert named(planted(double, tripled, fails_if_many), answer) == mistake


def told(exercise, answer):
    return Exam(exercise).grade(LocalSubject(answer)).diagnosis


def test_what_is_drawn_by_chance_is_said_to_be_although_each_call_begins_at_one_seed():
    by_chance = told(planted(double), lambda x: 2 * x + torch.randn(()))
    assert "asked twice, it gave two different answers" in by_chance
    assert "return" not in by_chance, "which is for what comes to None"
    assert "asked twice" not in told(planted(double), lambda x: 3 * x + 0 * torch.randn(()))
    drawn = planted(lambda x: x.mean() + torch.randn(3), run_case=call)
    assert "asked twice" not in told(drawn, lambda x: 2 * torch.randn(3)), "the right answer draws, too"


def test_one_check_that_alone_is_wrong_says_where_to_look():
    exercise = find("rank_residual")
    first = Exam(exercise).cases[0].args[0]
    assert "All other checks are right" in told(exercise, lambda x: exercise.reference(x) + (x.shape == first.shape))
    assert "All other checks are right" not in told(exercise, lambda x: exercise.reference(x) + 1)
    assert "All other checks are right" not in told(planted(double), lambda x: 2 * x if len(x) == 2 else 5 * x)


@pytest.mark.parametrize("nan", [math.nan, torch.tensor(math.nan)])
def test_nan_is_said_to_come_of_no_number(nan):
    assert "comes of 0 / 0" in told(find("rank_residual"), lambda x: nan)
    assert "comes of 0 / 0" not in told(find("rank_residual"), lambda x: math.inf)


DEBUG = [id for slug in exercises.labs() for id in exercises.lab(slug).exercises if find(id).kind == "debug"]


@pytest.mark.parametrize("id", DEBUG)
def test_hints_at_a_given_fault_come_while_it_is_there(id):
    exercise = find(id)
    given = [mistake for mistake in exercise.mistakes if mistake.given]
    assert given, "mark the fault of the given code with given=True"
    others = [mistake for mistake in exercise.mistakes if mistake.message not in {one.message for one in given}]
    for mistake, hinted in ((given[0], True), (others[0], False)):
        result = Exam(exercise).grade(LocalSubject(mistake.solution))
        assert result.mistake == mistake.message
        assert any(line.startswith("Hint: ") for line in result_lines(result, hints=1)) is hinted
    crashed = Exam(exercise).grade(LocalSubject(lambda *args, **kwargs: 1 / 0))
    assert any(line.startswith("Hint: ") for line in result_lines(crashed, hints=1)), "nothing is known of the fault"


def test_what_varies_is_no_known_mistake():
    calls = iter(range(3, 10**6))
    assert named(planted(double, tripled), lambda x: next(calls) * x) is None


def test_a_gradient_where_there_is_none_is_not_cut_off():
    exercise = Exercise(
        id="first", title="", points=1, minutes=1, difficulty=1, hints=("a", "b"), reference=lambda x: 2 * x[0], see="",
        kind="code",
        cases=lambda rng: [Case("two rows", (torch.ones(2, 3),))], mistakes=(), run_case=call_and_differentiate,
    )  # fmt: skip
    told = Exam(exercise).grade(LocalSubject(lambda x: 2 * x[0] + x[1] - x[1].detach())).diagnosis
    assert "first wrong at index [1, 0]: expected 0, got 0.87758. All values are right. The right result" in told
    assert "cut off" not in told


class Doubled(Scale):
    def forward(self, x):
        return 2 * super().forward(x)


SCALE = Exercise(
    id="scale", title="Scale", points=1, minutes=1, difficulty=1, hints=("a", "b"), reference=Scale, see="nowhere",
    kind="code", cases=lambda rng: [Case("one", (torch.randn(3, generator=rng), torch.randn(2, 3, generator=rng)))],
    mistakes=(Mistake(Doubled, "twice too large"),), run_case=run_case,
)  # fmt: skip


def test_a_module_is_called_through_a_handle():
    exam = Exam(SCALE, 5)
    assert exam.grade(LocalSubject(Scale))
    assert exam.grade(LocalSubject(Doubled)).mistake == "twice too large"

    class OtherNames(Scale):
        def __init__(self, d):
            nn.Module.__init__(self)
            self.gain = nn.Parameter(torch.ones(d))

    verdict = exam.grade(LocalSubject(OtherNames))
    assert "its parameters must be `weight` (3,); they are `gain` (3,)" in verdict.diagnosis.lower()

    class Frozen(Scale):
        def forward(self, x):
            return x * self.weight.detach()

    assert not exam.grade(LocalSubject(Frozen))


def test_float64_right_answers_are_compared_in_the_dtype_of_the_case():
    def add(x):
        return x + 1

    exercise = Exercise(
        id="add", title="", points=1, minutes=1, difficulty=1, hints=("a", "b"), reference=add, see="", mistakes=(),
        kind="code",
        cases=lambda rng: [Case("a", (torch.randn(3, generator=rng),)), Case("b", (torch.ones(2).bfloat16(),))],
        run_case=call_and_differentiate,
    )  # fmt: skip
    assert [e["output"].dtype for e in Exam(exercise, 1).expected] == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_wide_unsigned_integers_are_another_type(dtype):
    """torch does not compare them with other integers: it would raise in the grader."""
    expected = torch.tensor([1, 2])
    for got in (expected.to(dtype), expected.to(dtype).numpy()):
        assert compare(expected if isinstance(got, torch.Tensor) else expected.numpy(), got, 0, 0).kind == Kind.DTYPE


@pytest.mark.parametrize(
    "got", [0.25, torch.tensor(0.25, dtype=torch.float64), torch.tensor(0.25, dtype=torch.float16)]
)
def test_any_float_stands_for_a_single_number_and_for_no_vector(got):
    assert compare(torch.tensor(0.25), got, 0, 0) is None
    assert compare(torch.tensor(0.25), got + 1, 0, 0).kind == Kind.VALUE
    if isinstance(got, torch.Tensor):
        assert compare(torch.tensor([0.25]), got[None], 0, 0).kind == Kind.DTYPE
        assert compare(torch.tensor(0.25), got.to(torch.complex64), 0, 0).kind == Kind.DTYPE
        assert compare(torch.tensor(1), torch.tensor(1.0), 0, 0).kind == Kind.DTYPE


def test_a_closed_form_replaces_the_references_value_but_not_its_gradient():
    exercise = Exercise(
        id="square", title="", points=1, minutes=1, difficulty=1, hints=("a", "b"), reference=lambda x: x * x, see="",
        kind="code", mistakes=(), cases=lambda rng: [Case("3", (torch.tensor([3.0]),), expected=torch.tensor([9.0]))],
        run_case=call_and_differentiate,
    )  # fmt: skip
    (expected,) = Exam(exercise, 1).expected
    assert expected["output"].item() == 9
    assert expected["gradients"][0].item() == pytest.approx(6 * torch.cos(torch.tensor(0.5)).item())


def test_arguments_are_contiguous_here_as_they_are_in_the_sandbox():
    # Of a transposed copy, this view would be the right answer; the wire sends numbers in their order.
    for layout in (torch.randn(2, 3, 4), torch.randn(2, 4, 3).transpose(1, 2), torch.randn(3, 1).expand(3, 4)):
        sent = calls.fresh([layout])[0]
        assert sent.is_contiguous()
        assert torch.equal(sent, layout)


def test_a_merge_that_needs_transposed_memory_fails_and_gets_the_same_verdict_as_a_contiguous_one():
    def merge_heads(x):
        return x.transpose(1, 2).view(x.shape[0], x.shape[2], -1)

    def of_contiguous(x):
        return merge_heads(x.contiguous())

    result = check("merge_heads", merge_heads)
    assert not result
    assert result.result.checks == check("merge_heads", of_contiguous).result.checks


@pytest.mark.parametrize("hidden", [-float("inf"), -1e9, None])
def test_a_mask_upside_down_is_named_as_learners_write_it(hidden, capsys):
    def attention(q, k, v, mask=None):
        s = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if mask is not None:
            s = s.masked_fill(mask, float("-inf")) if hidden is None else s.masked_fill(mask, hidden)
        w = softmax(s) if hidden is None else s.softmax(-1)
        return w @ v

    assert not check("attention", attention)
    assert "The mask is upside down" in capsys.readouterr().out


def test_a_measurement_that_is_a_formula_fails(capsys):
    for theory in (lambda d, n_samples=10: float(d), lambda d, n_samples=10: torch.tensor(d)):
        assert not check("logit_variance", theory)
        text = capsys.readouterr().out
        assert "the very same number for any `n_samples`" in text
        assert "WrongAnswer" not in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda d, n: (torch.randn(n, d) @ torch.randn(n, d).T).var().item(), "as `q @ k.T` does"),
        (lambda d, n: d * (1 + 1 / n), "closer to what theory says"),
        (lambda d, n: d * (1 + random.gauss(0, math.sqrt(2 / n))), "by nearly the same share for every d"),
        (lambda d, n: d + torch.randn(()).item() * 0.01, "the very same number for any `n_samples`"),
        (lambda d, n: (torch.randn(10, d) * torch.randn(10, d)).sum(-1).var().item(), "the very same number for any"),
    ],
)
def test_a_measurement_of_something_else_than_its_own_pairs_fails(body, words, capsys):
    assert not check("logit_variance", lambda d, n_samples=10_000: body(d, n_samples))
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("seeded_with", [None, 0, 3])
@pytest.mark.parametrize(
    "halved", [lambda x: x.var() / 2, lambda x: (x / 2**0.5).var().item(), lambda x: x.std() ** 2 / 2]
)
def test_half_of_a_wrong_variance_is_not_the_right_one(seeded_with, halved, capsys):
    def logit_variance(d, n_samples=10_000):
        generator = None if seeded_with is None else torch.Generator().manual_seed(seeded_with)
        q = torch.randn(n_samples, d, generator=generator)
        return halved((q * q).sum(-1))

    assert not check("logit_variance", logit_variance)
    assert "The fault is still there, and its result is halved." in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(8))
def test_a_standard_deviation_is_told_however_the_vectors_are_seeded(seed, capsys):
    def logit_variance(d, n_samples=10_000):
        generator = torch.Generator().manual_seed(seed)
        q, k = (torch.randn(n_samples, d, generator=generator) for _ in range(2))
        return (q * k).sum(-1).std().item()

    assert not check("logit_variance", logit_variance)
    assert "`.var()` rather than `.std()`" in capsys.readouterr().out


def test_the_seed_that_an_exercise_knows_is_the_checks():
    from course_lib.exercises.ch01_attention.logit_variance import SEED_OF_THE_CHECK

    assert calls.SEED == SEED_OF_THE_CHECK


def steps_down(step, note=torch.Tensor.item):
    def descend(scores, inputs, targets, lr, steps):
        scores, losses = scores.clone().requires_grad_(), []
        for _ in range(steps):
            loss = torch.nn.functional.cross_entropy(scores[inputs], targets)
            loss.backward()
            losses.append(note(loss))
            scores = step(scores, lr)
        return scores.detach(), losses

    return descend


def in_place(scores, lr):
    with torch.no_grad():
        scores -= lr * scores.grad
    scores.grad = None
    return scores


def a_new_one(scores, lr):
    with torch.no_grad():
        return scores - lr * scores.grad


def emptied_first(scores, lr):
    scores.grad = None
    return in_place(scores, lr)


def recorded(scores, lr):
    scores -= lr * scores.grad
    return scores


def a_new_one_recorded(scores, lr):
    return scores - lr * scores.grad


@pytest.mark.parametrize(
    ("descend", "words"),
    [
        (steps_down(in_place, note=lambda loss: loss), "the losses are still tensors"),
        (steps_down(in_place, note=torch.Tensor.detach), "`loss.item()` is the Python number"),
        (steps_down(a_new_one), "Inside `torch.no_grad()`, `x -= y` changes a tensor that has it"),
        (steps_down(a_new_one_recorded), "`backward` fills it only of a tensor with `requires_grad_()`"),
        (
            steps_down(emptied_first),
            "until `backward` has filled it, and once more after `x.grad = None`",
        ),
        (steps_down(recorded), "a step of training stands inside `with torch.no_grad():`."),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_step_that_leaves_nothing_to_follow_is_explained(descend, words, capsys):
    assert check("descend", steps_down(in_place))
    assert not check("descend", descend)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("eps", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("back", [0, 1])
def test_slopes_found_by_nudging_are_told_to_be_so(eps, back, capsys):
    def influence(x, mask=None):
        slopes = torch.zeros(*x.shape, *x.shape)  # input and its number, output and its number
        for s in range(x.shape[0]):
            for i in range(x.shape[1]):
                up, down = x.clone(), x.clone()
                up[s, i] += eps
                down[s, i] -= back * eps
                slopes[s, i] = (attend(up, mask) - attend(down, mask)) / (eps + back * eps)
        return slopes.square().sum(dim=(1, 3)).sqrt().T

    def attend(x, mask):
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    assert not check("influence", influence)
    text = capsys.readouterr().out
    assert "If you have found the slopes by nudging" in text
    assert "a result rounded" not in text


def test_pairs_drawn_one_by_one_are_a_measurement():
    def one_by_one(d, n_samples):
        return torch.stack([torch.randn(d) @ torch.randn(d) for _ in range(n_samples)]).var()

    assert check("logit_variance", one_by_one)


def test_long_texts_are_shown_where_they_part(capsys):
    def render_chat(messages, ask=False):
        turns = [f"<|im_start|>{m['role']}\n{m['content'].rstrip('.')}<|im_end|>\n" for m in messages]
        return "".join(turns) + ask * "<|im_start|>assistant\n"

    assert not check("render_chat", render_chat)
    text = capsys.readouterr().out
    expected, got = text.split("expected ", 1)[1].split("\n")[0].split(", got ")
    assert expected.endswith(".<|im_end|>\\n'")
    assert got.endswith("<|im_end|>\\n'.")
    assert ".<|im_end|>" not in got


def test_two_numbers_are_shown_with_the_digits_that_tell_them_apart(capsys):
    def memories(x, keys, bias, values):
        return torch.nn.functional.gelu(x @ keys.T + bias)[..., None] * values

    assert not check("memories", memories)
    expected, got = capsys.readouterr().out.split("expected ", 1)[1].split(".\n")[0].split(", got ")
    assert expected != got
    assert float(expected) == pytest.approx(float(got), abs=1e-4)


def test_numpy_inside_is_said_to_cut_the_gradients(capsys):
    import numpy as np

    def softmax(x, dim=-1):
        return torch.as_tensor(np.exp(x))

    assert not check("softmax", softmax)
    text = capsys.readouterr().out
    assert "gradients have to flow through your function. Stay in torch" in text
    assert "detach" not in text


def test_other_parameters_are_named_and_nothing_else(capsys):
    class MultiHeadAttention(nn.Module):
        def __init__(self, d_model, n_heads):
            super().__init__()
            self.qkv = nn.Linear(d_model, 3 * d_model)

    check("multi_head_attention", MultiHeadAttention)
    text = capsys.readouterr().out
    assert re.search(r"must be `key.weight` \(.+\), `output.weight` .*, `query.weight` .*, `value.weight` ", text)
    assert "they are `qkv.bias` (" in text
    assert "gradients" not in text

    class MultiHeadAttention(nn.Module):
        def __init__(self, d_model, n_heads):
            super().__init__()
            self.query, self.key, self.value, self.output = (nn.Linear(d_model, 2, bias=False) for _ in range(4))

    check("multi_head_attention", MultiHeadAttention)
    text = capsys.readouterr().out
    assert re.search(r"`key` gives \d+ numbers here \(yours gives 2\); `output` gives", text)
    assert "its parameters must be" not in text


def test_other_sizes_are_explained_beside_what_the_layer_was_made_with(capsys):
    check("letter_model", OneInput)
    text = capsys.readouterr().out
    assert "`hidden` reads 6 numbers here (yours reads 3)." in text
    assert "`LetterModel(n_symbols=4, n_context=2, d_embedding=3, d_hidden=5)`" in text

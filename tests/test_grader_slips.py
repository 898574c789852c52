"""Slips that are possible in any exercise: which are named, and that nobody is accused of one by chance."""

import time
from dataclasses import replace

import pytest
import torch

from course_lib import exercises
from course_lib.exercises import find
from course_lib.exercises.spec import Alternative, Case
from course_lib.grader.exam import Exam
from course_lib.grader.inside.calls import LocalSubject
from course_lib.grader.slips import slips_of
from course_lib.grader.stored import packed

IDS = [id for slug in exercises.labs() for id in exercises.lab(slug).exercises]
SAME = "Your function does the same as one that "


def told(id, answer, seed=0):
    return Exam(find(id), seed).grade(LocalSubject(answer), hide_values=bool(seed)).mistake or ""


def rates_along_the_widths(accuracies, rates, looks, step):
    best = accuracies[..., looks.index(step)].mean(0).argmax(0).tolist()
    return [rates[i] if 0 < i < len(rates) - 1 else None for i in best]


def cosine_of_the_first_row(a, b):
    result = torch.zeros(len(a), len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            result[i, j] = a[i] @ b[j] / (a[i].norm() * b[j].norm())
        return result


def cosine_of_the_first_pair(a, b):
    result = torch.zeros(len(a), len(b))
    for i in range(len(a)):
        for j in range(len(b)):
            result[i, j] = a[i] @ b[j] / (a[i].norm() * b[j].norm())
            return result


def one_step_more(scores, inputs, targets, lr, steps):
    return find("descend").reference(scores, inputs, targets, lr, steps + 1)


def one_step_less(scores, inputs, targets, lr, steps):
    return find("descend").reference(scores, inputs, targets, lr, steps - 1)


def first_round(x, weights, w1, w2):
    output = torch.zeros_like(x)
    for expert in range(len(w1)):
        tokens = weights[:, expert].nonzero()[:, 0]
        answers = torch.relu(x[tokens] @ w1[expert]) @ w2[expert]
        output = output.index_add(0, tokens, weights[tokens, expert, None] * answers)
        return output


def whole_division(right, asked):
    z2 = 1.96**2
    share = right // asked
    middle = share + z2 / asked / 2
    half = 1.96 / asked**0.5 * (share * (1 - share) + z2 / asked / 4) ** 0.5
    return (middle - half) / (1 + z2 / asked), (middle + half) / (1 + z2 / asked)


def high_and_low(right, asked):
    low, high = find("share_interval").reference(right, asked)
    return high, low


def experts_exchanged(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return find("moe_parameters").reference(n_layers, d_model, d_ff, top_k, n_experts, rest)


def in_the_first_round_of_pairs(arms, question):
    pairs = []
    for one in sorted(arms):
        for other in sorted(arms):
            differs = [name for name in arms[one] if arms[one][name] != arms[other][name]]
            if one < other and differs == [question]:
                pairs.append([one, other])
        return pairs


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        ("fair_rates", rates_along_the_widths, "along another axis"),
        ("cosine_similarity", cosine_of_the_first_row, "leaves its loop in the first round: does a `return` stand too"),
        ("cosine_similarity", cosine_of_the_first_pair, "leaves its loop in the first round: does a `return` stand"),
        ("descend", one_step_more, "goes one round too far in its loop"),
        ("descend", one_step_less, "ends its loop one round too early"),
        ("mix_experts", first_round, "leaves its loop in the first round"),
        ("share_interval", whole_division, "divides by `//`"),
        ("share_interval", high_and_low, "has its result in the opposite order"),
        ("fair_pairs", in_the_first_round_of_pairs, "leaves its loop in the first round"),
        ("moe_parameters", experts_exchanged, "exchanges `n_experts` and `top_k`"),
    ],
)
def test_the_commonest_slips_are_named(id, answer, words, seed):
    message = told(id, answer, seed)
    assert message.startswith(SAME), message
    assert words in message


@pytest.mark.parametrize("id", IDS[::4])
def test_slips_are_named_in_any_exercise_and_right_answers_never(id):
    exam = Exam(find(id))
    kept, slips = exam.told_apart(), slips_of(exam.exercise)
    assert kept
    for rival, slip in list(zip(exam.slips, slips, strict=True))[::5]:
        if rival in kept:
            result = exam.grade(LocalSubject(slip.solution))
            assert result.mistake, (slip.message, result.diagnosis)
    for right in (exam.exercise.reference, *(other.solution for other in exam.exercise.alternatives)):
        assert exam.grade(LocalSubject(right)).mistake is None


def test_a_student_version_names_the_same_slips(tmp_path):
    """It has the visible answers of each slip, and neither the reference nor any other solution."""
    for id in ("cosine_similarity", "error_kind", "letter_model"):
        exam = Exam(find(id))
        file = tmp_path / f"{id}.cases"
        file.write_bytes(packed(exam.cases, exam.expected, exam.mistakes, exam.told_apart()))
        stored = Exam(replace(exam.exercise, stored=file, mistakes=(), alternatives=()))
        for slip in slips_of(exam.exercise)[::3]:
            ours, theirs = (one.grade(LocalSubject(slip.solution)) for one in (exam, stored))
            assert (ours.mistake, ours.diagnosis, ours.call) == (theirs.mistake, theirs.diagnosis, theirs.call)


@pytest.mark.parametrize(
    "answer",
    [
        lambda a, b: torch.zeros(len(a), len(b)),
        lambda a, b: torch.full((len(a), len(b)), torch.nan),
        lambda a, b: torch.ones(len(a), len(b)),
        lambda a, b: a @ b.T / 3,
        lambda a, b: (a @ b.T).tanh(),
        lambda a, b: None,
    ],
)
def test_what_is_wrong_otherwise_is_no_slip(answer):
    assert told("cosine_similarity", answer) == ""


def max_of_nothing(trials, budget):
    fit = [t for t in trials if t["seconds"] <= budget and t["validation"] == t["validation"]]
    return max(fit, key=lambda t: (t["validation"], -t["seconds"]))["name"]


def first_queue_alone(weights, capacity):
    kept = torch.zeros_like(weights)
    for expert in range(weights.shape[1]):
        n = 0
        for token in range(len(weights)):
            n += bool(weights[token, expert] > 0)
            if n <= capacity:
                kept[token, expert] = weights[token, expert]
        return kept


def from_a_half_on(x, weights, w1, w2):
    return find("mix_experts").reference(x, torch.where(weights >= 0.5, weights, 0.0), w1, w2)


def without_gradients(scores, targets):
    return torch.tensor(torch.nn.functional.cross_entropy(scores, targets).item())


def last_loss_alone(losses, uniform, frequency):
    last = losses[-1]
    if last != last or last > uniform:
        return "diverged"
    if last > frequency - 0.1:
        return "frequencies"
    if last - min(losses) > 0.05:
        return "rising"
    return "falling" if losses[-2] - last > 0.05 else "flat"


def his_before_any_word(words, partner, things):
    last = len(words) - 1
    return ["his" if word == "her" and i < last else partner.get(word, word) for i, word in enumerate(words)]


def unlike_the_last_kept(documents, n, threshold):
    last, keep = None, []
    for document in documents:
        grams = {tuple(document[i : i + n]) for i in range(len(document) - n + 1)}
        keep.append(last is None or len(grams & last) / len(grams | last) < threshold)
        last = grams if keep[-1] else last
    return keep


@pytest.mark.parametrize("seed", [0, 3, 4, 7])
@pytest.mark.parametrize(
    ("id", "answer", "words"),
    [
        ("choose_trial", max_of_nothing, "`max` has nothing to choose from"),
        ("within_capacity", first_queue_alone, "does a `return` stand too deep?"),
        ("mix_experts", from_a_half_on, "Only experts with a weight of one half or more answer"),
        ("cross_entropy", without_gradients, ""),
        ("read_run", last_loss_alone, "*anywhere* in the list"),
        ("swap_gender", his_before_any_word, "even where the word right behind it is no thing"),
        ("near_copies", unlike_the_last_kept, "the document that was kept *last* decides alone"),
    ],
)
def test_nobody_is_told_of_a_mistake_that_is_not_theirs(id, answer, words, seed):
    message = told(id, answer, seed)
    assert words in message
    assert bool(message) == bool(words)


def count_down(n):
    found = []
    while n > 0:
        found.append(n)
        n -= 1
    return found


def test_a_loop_that_a_slip_makes_endless_is_left():
    exercise = replace(
        find("best_rate"),
        reference=count_down,
        cases=lambda rng: [Case(str(n), (n,)) for n in (9, 4, 6)],
        mistakes=(),
        alternatives=(Alternative(lambda n: list(range(n, 0, -1))),),  # whose source is no definition
    )
    began = time.process_time()
    exam = Exam(exercise)
    assert exam.grade(LocalSubject(lambda n: count_down(n)[:-1])).mistake == f"{SAME}leaves out the last entry."
    assert exam.grade(LocalSubject(lambda n: [n])).mistake.startswith(f"{SAME}leaves its loop in the first round")
    assert exam.grade(LocalSubject(lambda n: [3 * n, n])).mistake is None
    assert time.process_time() - began < 5


def test_comparing_has_an_end():
    exam = Exam(find("share_interval"), seconds=1e-9)
    assert exam.grade(LocalSubject(high_and_low)).mistake is None
    assert Exam(find("share_interval"), seconds=60).grade(LocalSubject(high_and_low)).mistake

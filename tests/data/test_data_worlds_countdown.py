"""Countdown: problems solved by trying everything on their text; no held-out problem leaks; verdicts checked."""

import itertools
from fractions import Fraction

import pytest
import torch
from guessing import drawn_as_listed, near, rng

from course_lib.data.worlds.countdown import Countdown

WORLDS = [Countdown(), Countdown(2, 12, 30), Countdown(4, 6, 50)]


def evaluate(text):
    """The value of an answer, from its text alone."""
    first, *rest = text.split()
    value = int(first)
    for operation, number in zip(rest[::2], rest[1::2], strict=True):
        value = {"+": value.__add__, "-": value.__sub__, "*": value.__mul__}[operation](int(number))
    return value


def parse(problem):
    numbers, target = problem.removesuffix(" =").split(" for ")
    return numbers.split(), int(target)


def attempts(numbers):
    """Every answer to a problem as text, one for each order of places and choice of operations."""
    for order in itertools.permutations(numbers):
        for operations in itertools.product("+-*", repeat=len(numbers) - 1):
            yield " ".join([order[0], *(part for pair in zip(operations, order[1:], strict=True) for part in pair)])


@pytest.mark.parametrize("world", WORLDS, ids=str)
@pytest.mark.parametrize("held_out", [False, True])
def test_problems_solved_by_trying_everything(world, held_out):
    batch = world.sample(25, rng(), held_out)
    assert batch.target.shape == (25,)
    prompts, chances = world.prompt(batch), world.chance(batch)
    assert prompts.max() < world.vocab_size
    assert world.verify(batch, batch.solution).all()
    for prompt, solution, chance in zip(prompts, batch.solution, chances.tolist(), strict=True):
        numbers, target = parse(world.text(prompt))
        tried = list(attempts(numbers))
        right = [answer for answer in tried if evaluate(answer) == target]
        assert world.text(solution) in right
        assert chance == pytest.approx(len(right) / len(tried), rel=1e-12)
        assert 0 <= target < world.n_targets
        assert all(1 <= int(n) <= world.largest for n in numbers)


def test_the_verifier_agrees_with_a_program_that_reads():
    world = Countdown(3, 4, 12)
    batch = world.sample(8000, rng())
    answers = torch.randint(world.vocab_size, (8000, 5), generator=rng(1))
    answers[::2, 1::2] = torch.randint(5, 8, (4000, 2), generator=rng(2))
    answers[::2, ::2] = batch.numbers[::2, [1, 2, 0]]
    answers[::4, 2] = 3
    verdicts = world.verify(batch, answers)
    assert 200 < verdicts.sum() < 2000
    for prompt, answer, verdict in zip(world.prompt(batch), answers, verdicts.tolist(), strict=True):
        numbers, target = parse(world.text(prompt))
        parts = world.text(answer).split()
        well_formed = len(parts) == 5 and all(p.isdigit() for p in parts[::2]) and all(p in "+-*" for p in parts[1::2])
        right = well_formed and sorted(parts[::2]) == sorted(numbers) and evaluate(" ".join(parts)) == target
        assert verdict == right


def test_nothing_but_an_operation_passes_for_one():
    world = Countdown()
    batch = world.sample(400, rng())
    times = batch.solution[:, 1] == world.equals - 1
    assert times.sum() > 50
    for token in set(range(world.vocab_size)) - {world.equals - 1}:
        forged = batch.solution.clone()
        forged[times, 1] = token
        passed = world.verify(batch, forged)[times]
        if token > world.largest and token < world.equals:  # another operation: right where it gives the same value
            assert not passed.all()
        else:
            assert not passed.any()


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_held_out_problems_never_come_unasked(world):
    def problems(held_out):
        batch = world.sample(6000, rng(), held_out)
        return {(*sorted(row), t) for row, t in zip(batch.numbers.tolist(), batch.target.tolist(), strict=True)}

    train, test = problems(False), problems(True)
    assert train
    assert test
    assert not train & test


def test_every_answer_that_can_be_kept_is_drawn_as_often_as_any_other():
    world = Countdown(2, 4, 9)
    kept = []
    for numbers in itertools.product(range(1, 5), repeat=2):
        for answer in attempts([str(n) for n in numbers]):
            problem = torch.tensor([numbers]), torch.tensor([evaluate(answer)])
            if 0 <= evaluate(answer) < 9 and not world.is_held_out(*problem).item():
                kept.append((" ".join(map(str, numbers)) + f" for {evaluate(answer)} =", answer))
    batch = world.sample(12_000, rng())
    drawn = [(world.text(x), world.text(y)) for x, y in zip(world.prompt(batch), batch.solution, strict=True)]
    assert drawn_as_listed(drawn, [(Fraction(1, len(kept)), case) for case in kept])


def test_one_problem_in_ten_is_held_out():
    world = Countdown()
    every = {
        (*numbers, target)
        for numbers in itertools.combinations_with_replacement(range(1, 10), 3)
        for target in {evaluate(answer) for answer in attempts([str(n) for n in numbers])}
        if 0 <= target < 100
    }
    table = torch.tensor(sorted(every))
    held_out = world.is_held_out(table[:, :3], table[:, 3])
    assert near(held_out, 0.1)
    assert torch.equal(held_out, world.is_held_out(table[:, [2, 0, 1]], table[:, 3]))
    for target in range(10):  # no kind of problem is all on one side
        assert 0 < held_out[table[:, 3] % 10 == target].double().mean() < 0.25


def test_the_generator_decides_and_nothing_else():
    world, before = Countdown(), torch.get_rng_state()
    same, again, other = world.sample(6, rng(3)), world.sample(6, rng(3)), world.sample(6, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not torch.equal(same.solution, other.solution)
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_countdown():
    for sizes in ((1, 9, 100), (3, 0, 100), (3, 9, 0)):
        with pytest.raises(ValueError, match="must be a whole number, at least"):
            Countdown(*sizes)
    tiny = Countdown(2, 1, 1)  # 1 - 1 for 0 is all there is
    with pytest.raises(ValueError, match="too few"):
        tiny.sample(1, rng(), held_out=not tiny.is_held_out(torch.ones(1, 2).long(), torch.tensor([0])).item())
    with pytest.raises(ValueError, match="5 symbols, not 3"):
        Countdown().verify(Countdown().sample(2, rng()), torch.ones(2, 3, dtype=torch.long))

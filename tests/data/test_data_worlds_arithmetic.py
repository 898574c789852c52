"""Arithmetic chains: recomputed from their text, and every level against a list of all chains."""

import dataclasses
import itertools
from fractions import Fraction

import pytest
import torch
from guessing import best_guess, drawn_as_listed, near, rng

from course_lib.data.worlds.arithmetic import ArithmeticChains

SMALL = [
    ArithmeticChains(3, 2), ArithmeticChains(2, 1), ArithmeticChains(4, 2), ArithmeticChains(4, 2, any_multiplier=True),
    ArithmeticChains(6, 1, any_multiplier=True), ArithmeticChains(3, 3, any_multiplier=True),
    ArithmeticChains(5, 2, only_plus=True), ArithmeticChains(4, 2, only_plus=True, any_multiplier=True),
]  # fmt: skip


def solve(text, modulus):
    """The states of a problem, from its text alone."""
    start, *steps, equals = text.split()
    assert equals == "="
    state, states = int(start), []
    for step in steps:
        state = {"+": state + int(step[1:]), "*": state * int(step[1:])}[step[0]] % modulus
        states.append(state)
    return states


def coprime(c, modulus):
    return not any(c % k == 0 and modulus % k == 0 for k in range(2, modulus + 1))


def chain_cases(world, n_steps=None):
    """Probability and text of every problem."""
    p = world.modulus
    factors = [c for c in range(p) if world.any_multiplier or coprime(c, p)]
    half = Fraction(1) if world.only_plus else Fraction(1, 2)
    steps = [(half / p, f"+{b}") for b in range(p)]
    if not world.only_plus:
        steps += [(half / len(factors), f"*{c}") for c in factors]
    for start, *chain in itertools.product(range(p), *[steps] * (world.n_steps if n_steps is None else n_steps)):
        odds = Fraction(1, p)
        for q, _ in chain:
            odds *= q
        yield odds, " ".join([str(start), *(text for _, text in chain), "="])


@pytest.mark.parametrize("world", SMALL, ids=str)
def test_levels_by_listing_everything(world):
    cases = [(p, text, solve(text, world.modulus)[-1]) for p, text in chain_cases(world)]
    assert sum(p for p, _, _ in cases) == 1
    assert world.chance == pytest.approx(best_guess((p, None, y) for p, _, y in cases))
    assert world.startless_ceiling == pytest.approx(best_guess((p, x.split(maxsplit=1)[1], y) for p, x, y in cases))
    batch = world.sample(12_000, rng())
    assert drawn_as_listed([world.text(row) for row in world.prompt(batch)], [(p, x) for p, x, _ in cases])


@pytest.mark.parametrize("world", SMALL, ids=str)
@pytest.mark.parametrize("steps_left", [0, 1, 2])
def test_forgiveness_by_listing_everything(world, steps_left):
    right = Fraction(0)
    for p, text in chain_cases(world, steps_left):
        start, rest = text.split(maxsplit=1)
        truth = [int(start), *solve(text, world.modulus)][-1]
        for wrong in set(range(world.modulus)) - {int(start)}:
            right += p * ([wrong, *solve(f"{wrong} {rest}", world.modulus)][-1] == truth) / (world.modulus - 1)
    assert world.forgiveness(steps_left) == pytest.approx(float(right))
    if not world.any_multiplier or world.only_plus:
        assert right == 0


def test_steps_that_can_be_undone_leave_chance():
    for modulus in (2, 7, 10, 23):
        world = ArithmeticChains(modulus, n_steps=9)
        assert world.chance == world.startless_ceiling == pytest.approx(1 / modulus, rel=1e-15)


@pytest.mark.parametrize("world", [ArithmeticChains(), ArithmeticChains(10, 4, any_multiplier=True)], ids=str)
@pytest.mark.parametrize("n_steps", [None, 1, 12])
def test_answers_recomputed_from_the_text(world, n_steps):
    length = n_steps or world.n_steps
    batch = dataclasses.replace(world, n_steps=length).sample(200, rng())
    prompts = world.prompt(batch)
    styles = {style: world.answer(batch, style, rng(1)) for style in ("direct", "worked", "filler", "corrupted")}
    assert styles["direct"].shape[1] == 1
    assert all(answer.shape[1] == length for style, answer in styles.items() if style != "direct")
    for i, prompt in enumerate(prompts):
        states = solve(world.text(prompt), world.modulus)
        assert len(states) == length
        assert batch.states[i].tolist() == states
        assert world.text(styles["direct"][i]) == str(states[-1])
        assert world.text(styles["worked"][i]) == " ".join(map(str, states))
        assert world.text(styles["filler"][i]) == " ".join(["."] * (length - 1) + [str(states[-1])])
        assert world.text(styles["corrupted"][i]).split()[-1] == str(states[-1])
    assert max(prompts.max(), *(answer.max() for answer in styles.values())) < world.vocab_size


def test_every_token_has_its_own_text():
    world = ArithmeticChains(5)
    assert len({world.text(torch.tensor([token])) for token in range(world.vocab_size)}) == world.vocab_size


def test_a_corrupted_chain_says_nothing():
    world = ArithmeticChains(5, 3)
    batch = world.sample(40_000, rng())
    answer = world.answer(batch, "corrupted", rng(1))
    numbers = itertools.product(range(5), repeat=2)
    assert drawn_as_listed(
        [tuple(row) for row in answer[:, :2].tolist()], [(Fraction(1, 25), pair) for pair in numbers]
    )
    for step in range(2):
        assert near(answer[:, step] == batch.states[:, step], 1 / 5)
        assert near(answer[:, step] == answer[:, 2], 1 / 5)
        assert near(answer[:, step] == 3, 1 / 5)


@pytest.mark.parametrize("step", [0, 2, 3])
def test_following_a_wrong_number(step):
    world = ArithmeticChains(7, 4)
    batch = world.sample(300, rng())
    wrong = (batch.states[:, step] + 1) % 7
    followed = world.follow(batch, step, wrong)
    for i, prompt in enumerate(world.prompt(batch)):
        rest = world.text(prompt).split()[step + 2 :]
        expected = [
            *batch.states[i, :step].tolist(),
            wrong[i].item(),
            *solve(" ".join([str(wrong[i].item()), *rest]), 7),
        ]
        assert followed[i].tolist() == expected
    assert (followed[:, -1] != batch.states[:, -1]).all()
    assert torch.equal(world.follow(batch, step, batch.states[:, step]), batch.states)


def test_the_generator_decides_and_nothing_else():
    world, before = ArithmeticChains(), torch.get_rng_state()
    same, again, other = world.sample(6, rng(3)), world.sample(6, rng(3)), world.sample(6, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not torch.equal(same.states, other.states)
    assert torch.equal(world.answer(same, "corrupted", rng(1)), world.answer(same, "corrupted", rng(1)))
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_chains():
    with pytest.raises(ValueError, match="modulus=1 must be a whole number, at least 2"):
        ArithmeticChains(1)
    with pytest.raises(ValueError, match="n_steps=0 must be a whole number, at least 1"):
        ArithmeticChains(n_steps=0)
    batch = ArithmeticChains().sample(2, rng())
    with pytest.raises(ValueError, match="pass a generator"):
        ArithmeticChains().answer(batch, "corrupted")

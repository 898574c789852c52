"""Arithmetic chains: recomputed from their text, and every level against a list of all chains."""

import dataclasses
import itertools
from fractions import Fraction

import pytest
import torch
from guessing import best_guess, drawn_as_listed, rng

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


def chain_cases(world):
    """Probability and text of every problem."""
    p = world.modulus
    factors = [c for c in range(p) if world.any_multiplier or coprime(c, p)]
    half = Fraction(1) if world.only_plus else Fraction(1, 2)
    steps = [(half / p, f"+{b}") for b in range(p)]
    if not world.only_plus:
        steps += [(half / len(factors), f"*{c}") for c in factors]
    for start, *chain in itertools.product(range(p), *[steps] * world.n_steps):
        odds = Fraction(1, p)
        for q, _ in chain:
            odds *= q
        yield odds, " ".join([str(start), *(text for _, text in chain), "="])


@pytest.mark.parametrize("world", SMALL, ids=str)
def test_levels_by_listing_everything(world):
    cases = [(p, text, solve(text, world.modulus)[-1]) for p, text in chain_cases(world)]
    assert sum(p for p, _, _ in cases) == 1
    assert world.chance == pytest.approx(best_guess((p, None, y) for p, _, y in cases))
    batch = world.sample(12_000, rng())
    assert drawn_as_listed([world.text(row) for row in world.prompt(batch)], [(p, x) for p, x, _ in cases])


def test_steps_that_can_be_undone_leave_chance():
    for modulus in (2, 7, 10, 23):
        world = ArithmeticChains(modulus, n_steps=9)
        assert world.chance == pytest.approx(1 / modulus, rel=1e-15)


@pytest.mark.parametrize("world", [ArithmeticChains(), ArithmeticChains(10, 4, any_multiplier=True)], ids=str)
@pytest.mark.parametrize("n_steps", [None, 1, 12])
def test_states_recomputed_from_the_text(world, n_steps):
    length = n_steps or world.n_steps
    batch = dataclasses.replace(world, n_steps=length).sample(200, rng())
    prompts = world.prompt(batch)
    assert prompts.max() < world.vocab_size
    for i, prompt in enumerate(prompts):
        states = solve(world.text(prompt), world.modulus)
        assert len(states) == length
        assert batch.states[i].tolist() == states
        assert world.text(batch.states[i]) == " ".join(map(str, states))


def test_every_token_has_its_own_text():
    world = ArithmeticChains(5)
    assert len({world.text(torch.tensor([token])) for token in range(world.vocab_size)}) == world.vocab_size


def test_the_generator_decides_and_nothing_else():
    world, before = ArithmeticChains(), torch.get_rng_state()
    same, again, other = world.sample(6, rng(3)), world.sample(6, rng(3)), world.sample(6, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not torch.equal(same.states, other.states)
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_chains():
    with pytest.raises(ValueError, match="modulus=1 must be a whole number, at least 2"):
        ArithmeticChains(1)
    with pytest.raises(ValueError, match="n_steps=0 must be a whole number, at least 1"):
        ArithmeticChains(n_steps=0)

"""Written sums: what a writer puts down, against the chances that are computed; and a model that is known exactly."""

import pytest
import torch
from guessing import near, rng

from course_lib.data.worlds.arithmetic import ArithmeticChains, ChainBatch
from course_lib.data.worlds.written_sums import (
    WORDINGS,
    answer_chances,
    ask,
    sample_answers,
    write,
    writing_rule,
    written_chances,
)

WORLD = ArithmeticChains(5, 3)
RULES = [writing_rule(5), writing_rule(5, slip=0.14), writing_rule(5, habit=0.7)]


def by_hand(rows):
    """`2 +1 *3 +4`, so many times."""
    start, operators = torch.full((rows,), 2), torch.tensor([[0, 1, 0]] * rows)
    operands = torch.tensor([[1, 3, 4]] * rows)
    return ChainBatch(start, operators, operands, WORLD.run(start, operators, operands))


@pytest.mark.parametrize("rule", RULES)
def test_what_is_written_has_the_chances_computed(rule):
    torch.testing.assert_close(rule.sum(-1), torch.ones(2, 5, 5))
    chains = by_hand(20_000)
    answers = write(rule, chains, rng())[:, -1]
    for answer, chance in enumerate(written_chances(rule, chains)[0].tolist()):
        assert near(answers == answer, chance)


def test_the_example_of_the_page():
    chains = by_hand(1)
    assert write(writing_rule(5), chains, rng()).tolist() == chains.states.tolist() == [[3, 4, 3]]
    assert write(writing_rule(5, habit=1.0), chains, rng()).tolist() == [[3, 1, 0]]
    assert written_chances(writing_rule(5, habit=0.7), chains)[0].tolist() == pytest.approx([0.7, 0, 0, 0.3, 0])


def test_wordings():
    equals, plus_1, times_3, plus_4 = WORLD.equals, 5 + 1, 10 + 3, 5 + 4
    chains = by_hand(len(WORDINGS))
    assert ask(WORLD, chains, torch.arange(4)).tolist() == [
        [2, plus_1, times_3, plus_4, equals],
        [2, plus_1, times_3, plus_4, equals + 1],
        [plus_1, times_3, plus_4, 2, equals],
        [plus_1, times_3, plus_4, 2, equals + 1],
    ]
    assert ask(WORLD, chains, 2).tolist() == [[plus_1, times_3, plus_4, 2, equals]] * 4


@pytest.mark.parametrize("rule", RULES[1:])
def test_a_model_that_writes_by_a_rule(rule):
    """It looks up the step and the number before, so its answers have the writer's chances."""
    chains = WORLD.sample(30, rng())
    steps = 3

    def next_number(tokens):
        prompts, written = tokens[:, : steps + 2], tokens[:, steps + 2 :]
        numbers = torch.cat([prompts[:, :1], written], dim=1)
        places = []
        for step in range(min(steps, numbers.shape[1])):
            token = prompts[:, 1 + step]
            places.append(rule[token // 5 - 1, token % 5, numbers[:, step]])
        found = torch.stack(places, dim=1).clamp(min=1e-12).log()
        before = torch.zeros(len(tokens), tokens.shape[1] - found.shape[1], 5)
        return torch.cat([before, found], dim=1)

    exact = answer_chances(next_number, ask(WORLD, chains), 5, steps)
    torch.testing.assert_close(exact, written_chances(rule, chains), atol=1e-5, rtol=0)
    answers = sample_answers(next_number, ask(WORLD, by_hand(1)), steps, 20_000, rng())
    for answer, chance in enumerate(written_chances(rule, by_hand(1))[0].tolist()):
        assert near(answers[0] == answer, chance)

"""ALiBi slopes: how strongly each head prefers what is near (Press et al. 2021, section 3)."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def alibi_slopes(n_heads):
    return 2.0 ** (-8.0 * torch.arange(1, n_heads + 1) / n_heads)


def cases(rng):
    n_heads = 2 ** int(torch.randint(4, 6, (), generator=rng))
    return [
        Case("8 heads: 1/2, 1/4, ... 1/256", (8,), expected=2.0 ** -torch.arange(1.0, 9)),
        Case("2 heads", (2,), expected=torch.tensor([1 / 16, 1 / 256])),
        Case("1 head", (1,), expected=torch.tensor([1 / 256])),
        Case("4 heads", (4,)),
        Case(f"{n_heads} heads", (n_heads,)),
    ]


@alternative
def by_powers(n_heads):
    return torch.tensor([(2 ** (-8 / n_heads)) ** i for i in range(1, n_heads + 1)])


@mistake("Your first slope is 1: let i start at 1, so that it is 2**(-8/n_heads).")
def counts_from_zero(n_heads):
    return 2.0 ** (-8.0 * torch.arange(n_heads) / n_heads)


@mistake("The order is reversed: the first head has the steepest slope.")
def reversed_order(n_heads):
    return alibi_slopes(n_heads).flip(0)


@mistake("A factor of 1/2 from head to head is right for 8 heads only; in general it is 2**(-8/n_heads).")
def halves_each_time(n_heads):
    return 2.0 ** -torch.arange(1.0, n_heads + 1)


@mistake("Slopes are positive; the minus sign comes with the bias.")
def negative(n_heads):
    return -alibi_slopes(n_heads)


@mistake("Your slopes grow, and they should shrink: the exponent is negative.")
def slopes_grow(n_heads):
    return 1 / alibi_slopes(n_heads)


@mistake("The base is 2, not e: take powers of 2.0 rather than `exp`.")
def powers_of_e(n_heads):
    return torch.exp(-8.0 * torch.arange(1, n_heads + 1) / n_heads)


EXERCISE = Exercise(
    id="alibi_slopes",
    title="ALiBi slopes",
    points=1,
    minutes=4,
    difficulty=1,
    hints=(
        "A geometric series: the first slope is 2**(-8/n_heads), and each next one is smaller by that same factor.",
        "`2.0 ** (-8 * torch.arange(1, n_heads + 1) / n_heads)`: i runs from 1 to n_heads.",
    ),
    reference=alibi_slopes,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Press et al. 2021, section 3",
)

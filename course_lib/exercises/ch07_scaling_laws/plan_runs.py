"""Which models to train, on how many tokens, so that their losses tell how the best size grows with the budget."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    in_words,
    mistake,
    mistakes_in,
)


def plan_runs(budget, n_runs, smallest, largest):
    # Every size with 1, 10, 100 and 1,000 tokens for a parameter.
    ratio = torch.logspace(0, 3, 4).repeat(n_runs // 4)
    step = torch.linspace(0, 1, n_runs // 4).repeat_interleave(4)
    while True:
        n = smallest * (largest / smallest) ** step
        d = ratio * n
        if 6 * (n * d).sum() <= budget:
            return torch.stack([n, d], dim=1)
        largest = 0.95 * largest


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    def n_runs():
        return 4 * int(torch.randint(4, 11, (), generator=rng))

    return [
        Case("a budget of about 1e20", (10 ** number(20, 20.2), n_runs(), number(9e6, 1.1e7), 3e9)),
        Case("a budget of about 1e21", (10 ** number(20.9, 21.1), n_runs(), number(1e7, 2e7), 1e10)),
        Case("another budget", (10 ** number(20, 21), n_runs(), number(5e6, 1e7), 1e10)),
        Case("another budget, smaller models", (10 ** number(20, 21), n_runs(), number(2e6, 4e6), 1e10)),
        Case("a large budget", (10 ** number(21, 22), n_runs(), number(5e6, 1e7), 2e10)),
    ]


LAW = {"a": 482.01, "b": 2085.43, "alpha": 0.3478, "beta": 0.3658}  # Besiroglu et al. 2024; E does not matter
NOISE = 0.01  # nats, the standard deviation of a run's loss
KNOWN = 0.04  # the standard error of beta / (alpha + beta) up to which it counts as known


def run_case(subject, budget, n_runs, smallest, largest):
    """Look at what a plan can tell, not at its runs: any plan that tells it is right."""
    plan = subject(budget, n_runs, smallest, largest)
    if not isinstance(plan, torch.Tensor) or plan.shape != (n_runs, 2):
        raise WrongAnswer(f"return a tensor of shape ({n_runs}, 2): a row with N and D for each run.")
    if not plan.is_floating_point():
        raise WrongAnswer(f"N and D are floats here, and not of type {plan.dtype}: whole numbers this large overflow.")
    return seen_from_outside(plan.double(), budget, smallest, largest)


def seen_from_outside(plan, budget, smallest, largest):
    """Describe a plan by its first fault, or by what it tells."""
    n, d = plan.T
    if not (plan > 0).all() or not torch.isfinite(plan).all():
        return "sizes and tokens that are no positive numbers"
    if (d <= n).all() and (n <= 1001 * d).all() and 0.999 * smallest <= d.min() < d.max() <= 1.001 * largest:
        return "sizes and tokens exchanged"
    if (n < 0.999 * smallest).any() or (n > 1.001 * largest).any():
        return "sizes out of range"
    if (d < 0.999 * n).any() or (d > 1001 * n).any():
        return "fewer than 1 or more than 1,000 tokens for a parameter"
    if 6 * (n * d).sum() > 1.001 * budget:
        return "more operations than the budget has"
    for what, value in (("size", n), ("number of tokens", d), ("ratio of tokens to size", d / n), ("cost", n * d)):
        if value.log().std() < 0.05:
            return f"one {what} for all"
    return "it tells how the best size grows" if standard_error(n, d) <= KNOWN else "it hardly tells how the size grows"


def standard_error(n, d):
    """Compute the standard error of beta / (alpha + beta) in a least-squares fit to the losses of these runs."""
    alpha, beta = LAW["alpha"], LAW["beta"]
    small, little = LAW["a"] / n**alpha, LAW["b"] / d**beta
    # How the loss changes with E, ln A, alpha, ln B and beta.
    slopes = torch.stack([torch.ones_like(n), small, -small * n.log(), little, -little * d.log()], dim=1)
    scale = slopes.norm(dim=0)
    _, values, directions = torch.linalg.svd(slopes / scale, full_matrices=False)
    wanted = torch.tensor([0, 0, -beta, 0, alpha], dtype=n.dtype) / (alpha + beta) ** 2 / scale
    return NOISE * (directions @ wanted / values.clamp(min=1e-12)).norm().item()


@alternative
def three_budgets(budget, n_runs, smallest, largest):
    # IsoFLOP curves: the budgets are a factor of 8 apart, and each has sizes around one with 20 tokens a parameter.
    shares = 8.0 ** -torch.arange(n_runs, dtype=torch.float64).remainder(3)
    cost = 0.99 * budget * shares / shares.sum()
    middle = (cost / 6 / 20).sqrt()
    step = torch.arange(n_runs, dtype=torch.float64) // 3
    n = (middle * 0.25 * 16 ** (step / step.max())).clamp(smallest, largest)
    d = torch.minimum(cost / 6 / n, 1000 * n)
    return torch.stack([n, d], dim=1)


@alternative
def at_random(budget, n_runs, smallest, largest):
    generator = torch.Generator().manual_seed(n_runs)
    u, v = torch.rand(2, n_runs, generator=generator, dtype=torch.float64)
    power = 1.0
    while True:
        n = smallest * (largest / smallest) ** (power * u)
        d = n * 1000**v
        if 6 * (n * d).sum() < budget:
            return torch.stack([n, d], dim=1)
        power *= 0.98


@alternative
def with_plain_loops(budget, n_runs, smallest, largest):
    factor = 10.0
    while True:
        runs, cost = [], 0.0
        for i in range(n_runs // 4):
            n = smallest * factor ** (i / (n_runs // 4 - 1))
            for ratio in (1, 10, 100, 1000):
                runs.append([n, ratio * n])
                cost += 6 * n * ratio * n
        if cost <= budget:
            return torch.tensor(runs, dtype=torch.float64)
        factor = 0.9 * factor


@mistake(
    "Every model gets as many tokens for a parameter as any other. Then size and tokens grow together, and no fit can "
    "tell which of them lowered the loss. Try each size with few tokens and with many."
)
def twenty_tokens(budget, n_runs, smallest, largest):
    step = torch.linspace(0, 1, n_runs, dtype=torch.float64)
    while True:
        n = smallest * (largest / smallest) ** step
        if 6 * 20 * (n**2).sum() <= budget:
            return torch.stack([n, 20 * n], dim=1)
        largest = 0.95 * largest


@mistake("All models have one size. Then nothing tells what a larger one would bring.")
def one_size(budget, n_runs, smallest, largest):
    ratio = torch.logspace(0, 3, n_runs, dtype=torch.float64)
    n = torch.full_like(ratio, (budget / 6 / ratio.sum().item()) ** 0.5).clamp(smallest, largest)
    return torch.stack([n, ratio * n], dim=1)


@mistake("All models read as many tokens. Then nothing tells what more of them would bring.")
def one_number_of_tokens(budget, n_runs, smallest, largest):
    n = smallest * torch.logspace(0, 1, n_runs, dtype=torch.float64)
    return torch.stack([n, torch.full_like(n, 20 * smallest)], dim=1)


@mistake(
    "All runs cost the same. This finds the best size for one budget. How it *grows* takes several budgets, a good "
    "factor apart."
)
def one_budget(budget, n_runs, smallest, largest):
    cost = budget / n_runs / 6
    low, high = max(smallest, (cost / 1000) ** 0.5), min(largest, cost**0.5)
    n = low * (high / low) ** torch.linspace(0.01, 0.99, n_runs, dtype=torch.float64)
    return torch.stack([n, cost / n], dim=1)


@mistake("The runs cost more than there is. A run costs 6 N D operations: add them all up.")
def without_six(budget, n_runs, smallest, largest):
    plan = plan_runs(budget, n_runs, smallest, largest)
    return plan * (1.2 * budget / 6 / plan.prod(1).sum()) ** 0.5


@mistake(
    "Some models read less than one token for each parameter, or more than a thousand. Nobody has tried the law there."
)
def up_to_the_largest(budget, n_runs, smallest, largest):
    n = torch.logspace(0, 1, n_runs, dtype=torch.float64) * largest / 10
    return torch.stack([n, torch.full_like(n, 0.9 * budget / 6 / n.sum().item())], dim=1)


@mistake("Some models are smaller than `smallest`, or larger than `largest`.")
def out_of_range(budget, n_runs, smallest, largest):
    return plan_runs(budget / 100, n_runs, smallest / 10, largest)


@mistake(
    "Sizes and tokens vary, but hardly apart from each other: the larger models have more tokens. The standard error "
    "of the exponent stays above 0.04. Give each size few tokens *and* many."
)
def nearly_twenty(budget, n_runs, smallest, largest):
    plan = twenty_tokens.solution(budget / 2, n_runs, smallest, largest)
    ratio = 20 * 1.3 ** (torch.arange(n_runs, dtype=torch.float64) % 2)
    return torch.stack([plan[:, 0], plan[:, 0] * ratio], dim=1)


@mistake("No run has more tokens than parameters. Are the two columns exchanged? N comes first, then D.")
def exchanged(budget, n_runs, smallest, largest):
    return plan_runs(budget, n_runs, smallest, largest).flip(1)


@mistake("Some of these are no positive numbers. Does a size or a ratio start at 0, or overflow?")
def from_zero(budget, n_runs, smallest, largest):
    plan = plan_runs(budget, n_runs, smallest, largest)
    plan[0] = 0
    return plan


EXERCISE = Exercise(
    id="plan_runs",
    title="Which runs tell how the best size grows?",
    points=3,
    minutes=15,
    difficulty=3,
    kind="design",
    hints=(
        "A fit has to tell what came from the size and what from the tokens. So each must vary while the other does "
        "not, and the cost must vary too.",
        "Four runs of one size can differ in their tokens, from very few to very many. If all of them together cost "
        "too much, which sizes are the dear ones, and what may be lower?",
    ),
    reference=plan_runs,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, Which runs to pay for",
)

"""Given the exponents of a scaling law, its three coefficients follow from one linear least-squares problem."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def law_coefficients(n, d, loss, weight, alpha, beta):
    columns = torch.stack([torch.ones_like(n), n**-alpha, d**-beta], dim=1)
    root = weight.sqrt()[:, None]
    return torch.linalg.lstsq(root * columns, root * loss[:, None]).solution.flatten()


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng, dtype=torch.float64).item()

    def runs(n_runs):
        n = 10 ** (3 + 3 * torch.rand(n_runs, generator=rng, dtype=torch.float64))
        d = 10 ** (4 + 3 * torch.rand(n_runs, generator=rng, dtype=torch.float64))
        return n, d

    def law(n, d):
        alpha, beta = number(0.2, 0.5), number(0.2, 0.5)
        coefficients = torch.tensor([number(0.5, 2), number(5, 20), number(30, 60)], dtype=torch.float64)
        loss = coefficients[0] + coefficients[1] / n**alpha + coefficients[2] / d**beta
        return loss, alpha, beta, coefficients

    def exact(n_runs):
        n, d = runs(n_runs)
        loss, alpha, beta, coefficients = law(n, d)
        weight = 0.5 + torch.rand(n_runs, generator=rng, dtype=torch.float64)
        return (n, d, loss, weight, alpha, beta), coefficients

    def with_noise(n_runs, equal):
        n, d = runs(n_runs)
        loss, alpha, beta, _ = law(n, d)
        loss = loss + 0.05 * torch.randn(n_runs, generator=rng, dtype=torch.float64)
        weight = torch.rand(n_runs, generator=rng, dtype=torch.float64) + 0.05
        return n, d, loss, torch.ones_like(n) if equal else weight, alpha, beta

    def with_an_outlier(n_runs):
        (n, d, loss, weight, alpha, beta), coefficients = exact(n_runs)
        loss[3] += 2
        weight[3] = 0
        return (n, d, loss, weight, alpha, beta), coefficients

    small = torch.tensor([1.0, 2, 1, 2], dtype=torch.float64)
    by_hand = (small, small.sort().values, torch.tensor([7.0, 6, 5, 4], dtype=torch.float64), torch.ones_like(small))
    free, right = exact(20)
    wild, truth = with_an_outlier(16)
    return [
        Case(
            "by hand: four runs, both exponents 1",
            (*by_hand, 1.0, 1.0),
            expected=torch.tensor([1.0, 2, 4], dtype=torch.float64),
        ),
        Case("20 runs without noise", free, expected=right),
        Case("30 runs with noise, all of one weight", with_noise(30, equal=True)),
        Case("30 runs with noise, each with its own weight", with_noise(30, equal=False)),
        Case("16 runs, of which one is wrong and has weight 0", wild, expected=truth),
    ]


@alternative
def by_the_normal_equations(n, d, loss, weight, alpha, beta):
    columns = torch.stack([n**0, n**-alpha, d**-beta])
    return torch.linalg.solve((columns * weight) @ columns.T, (columns * weight) @ loss)


@alternative
def by_the_pseudoinverse(n, d, loss, weight, alpha, beta):
    columns = torch.column_stack([torch.ones(len(n), dtype=n.dtype), n ** (-alpha), d ** (-beta)])
    root = torch.diag(weight.sqrt())
    return torch.linalg.pinv(root @ columns) @ (root @ loss)


@mistake("The weights are ignored: a run of weight 0 should not count at all. Least squares weighs *squared* errors.")
def without_weights(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, torch.ones_like(weight), alpha, beta)


@mistake(
    "Each error is multiplied by its weight, and then squared, so the weight counts twice. Multiply the rows of both "
    "sides by the *square root* of the weight."
)
def weights_squared(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight**2, alpha, beta)


@mistake("The sizes rise with `n**alpha` here. The law divides by it: `n**-alpha`.")
def divided_by_nothing(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, -alpha, -beta)


@mistake("The two exponents are exchanged: alpha belongs to the parameters, beta to the tokens.")
def exponents_exchanged(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, beta, alpha)


@mistake("E is missing: without a column of ones the law falls to 0, and the other two have to make up for it.")
def without_e(n, d, loss, weight, alpha, beta):
    columns = weight.sqrt()[:, None] * torch.stack([n**-alpha, d**-beta], dim=1)
    a, b = torch.linalg.lstsq(columns, (weight.sqrt() * loss)[:, None]).solution[:, 0]
    return torch.stack([torch.zeros_like(a), a, b])


@mistake("This fits the logarithm of the loss. The law adds up three parts, and a logarithm of a sum is no sum.")
def of_the_logarithm(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss.log(), weight, alpha, beta)


@mistake("The order is another one: return E first, then A, then B.")
def e_at_the_end(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, alpha, beta).roll(-1)


EXERCISE = Exercise(
    id="law_coefficients",
    title="What is linear in a scaling law",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "With alpha and beta given, the loss is a weighted sum of three columns: 1, `n**-alpha` and `d**-beta`. Which "
        "function of torch solves least squares?",
        "`columns = torch.stack([torch.ones_like(n), n**-alpha, d**-beta], dim=1)`; multiply its rows, and `loss`, by "
        "`weight.sqrt()`; then `torch.linalg.lstsq(...).solution`.",
    ),
    reference=law_coefficients,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, Fit what is linear, search the rest",
)

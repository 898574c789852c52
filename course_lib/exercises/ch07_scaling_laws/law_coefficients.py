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

    def law(n, d, sign=1):
        alpha, beta = number(0.2, 0.5), number(0.2, 0.5)
        coefficients = torch.tensor([number(0.5, 2), sign * number(5, 20), number(30, 60)], dtype=torch.float64)
        loss = coefficients[0] + coefficients[1] / n**alpha + coefficients[2] / d**beta
        return loss, alpha, beta, coefficients

    def exact(n_runs, sign=1):
        n, d = runs(n_runs)
        loss, alpha, beta, coefficients = law(n, d, sign)
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
    falling, below_zero = exact(12, sign=-1)
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
        Case("12 runs without noise, and A is negative", falling, expected=below_zero),
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


@alternative
def run_by_run(n, d, loss, weight, alpha, beta):
    # The normal equations, added up over the runs.
    left = torch.zeros(3, 3, dtype=torch.float64)
    right = torch.zeros(3, dtype=torch.float64)
    for i in range(len(n)):
        row = torch.tensor([1.0, n[i] ** -alpha, d[i] ** -beta], dtype=torch.float64)
        for j in range(3):
            for k in range(3):
                left[j, k] += weight[i] * row[j] * row[k]
            right[j] += weight[i] * row[j] * loss[i]
    return torch.linalg.solve(left, right)


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


def _fit(columns, loss, weight, of_columns=0.5, of_loss=0.5):
    """Least squares, with the rows and the losses multiplied by powers of the weight."""
    left, right = weight[:, None] ** of_columns * columns, weight**of_loss * loss
    return torch.linalg.lstsq(left, right[:, None]).solution.flatten()


def _columns(n, d, alpha, beta):
    return torch.stack([torch.ones_like(n), n**-alpha, d**-beta], dim=1)


@mistake("The losses are not weighted, and the columns are. An error is their difference: multiply both sides.")
def columns_weighted_alone(n, d, loss, weight, alpha, beta):
    return _fit(_columns(n, d, alpha, beta), loss, weight, of_loss=0)


@mistake("The columns are not weighted, and the losses are. An error is their difference: multiply both sides.")
def losses_weighted_alone(n, d, loss, weight, alpha, beta):
    return _fit(_columns(n, d, alpha, beta), loss, weight, of_columns=0)


@mistake("The column of ones is not weighted. Multiply whole rows by the root of the weight, the 1 too.")
def ones_not_weighted(n, d, loss, weight, alpha, beta):
    columns, root = _columns(n, d, alpha, beta), weight.sqrt()
    columns = torch.stack([columns[:, 0], root * columns[:, 1], root * columns[:, 2]], dim=1)
    return _fit(columns, loss, weight, of_columns=0)


@mistake("This divides by the weight. A run with a larger weight counts for *more*: multiply by its root.")
def divided_by_the_weight(n, d, loss, weight, alpha, beta):
    return _fit(_columns(n, d, alpha, beta), loss, weight.clamp(min=1e-9), of_columns=-0.5, of_loss=-0.5)


@mistake(
    "Runs of weight 0 are left out, and all others count alike. A run of weight 2 should count twice as much as one of "
    "weight 1: multiply the rows of both sides by the root of the weight."
)
def without_weight_zero(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, (weight > 0).to(weight), alpha, beta)


@mistake("Both columns have the exponent alpha. Tokens have their own: `d**-beta`.")
def alpha_for_both(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, alpha, alpha)


@mistake("A and B are exchanged: return E first, then A of the parameters, then B of the tokens.")
def a_and_b_exchanged(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, alpha, beta)[[0, 2, 1]]


@mistake("The exponents are missing: the columns are `n**-alpha` and `d**-beta`, and not 1 / n and 1 / d.")
def without_exponents(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, 1, 1)


@mistake(
    "The columns hold logarithms. A power becomes a straight line in logarithms only if it stands alone, and the law "
    "adds up three parts."
)
def columns_of_logarithms(n, d, loss, weight, alpha, beta):
    return _fit(torch.stack([torch.ones_like(n), -alpha * n.log(), -beta * d.log()], dim=1), loss, weight)


@mistake("No coefficient is below 0 here. They may be: return what least squares finds.")
def never_negative(n, d, loss, weight, alpha, beta):
    return law_coefficients(n, d, loss, weight, alpha, beta).clamp(min=0)


@mistake(
    "E is missing in the result, and the law falls to 0 without it. Three numbers are wanted: a column of ones, too."
)
def two_numbers(n, d, loss, weight, alpha, beta):
    return without_e.solution(n, d, loss, weight, alpha, beta)[1:]


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
        "`torch.linalg.lstsq(columns, values).solution` makes the sum of the squared errors small, all of one weight. "
        "By what must a row of columns be multiplied, and its loss too, for the *square* of its error to get the "
        "weight?",
    ),
    reference=law_coefficients,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, Fit what is linear, search the rest",
)

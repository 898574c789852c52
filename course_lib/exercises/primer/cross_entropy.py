"""Cross-entropy: how surprised a model is by what really came."""

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def cross_entropy(scores, targets):
    scores = scores - scores.amax(dim=-1, keepdim=True)  # changes no probability; keeps exp from overflowing
    log_probability = scores - scores.exp().sum(dim=-1, keepdim=True).log()
    return -log_probability[torch.arange(len(targets)), targets].mean()


def cases(rng):
    def drawn(n, choices, size=1.0, shift=0.0):
        scores = size * torch.randn(n, choices, generator=rng) + shift
        return scores, torch.randint(choices, (n,), generator=rng)

    return [
        Case("one example, three choices", drawn(1, 3)),
        Case("5 examples, 4 choices", drawn(5, 4)),
        Case("as many examples as choices", drawn(6, 6)),
        Case("large scores (1000): no overflow", drawn(4, 5, size=20, shift=1000), rtol=1e-4, atol=1e-4),
        Case("scores far apart: the log of a tiny probability", (torch.tensor([[0.0, 200.0]]), torch.tensor([0]))),
        Case("one row near 1000, another near 0", near_and_far(drawn(2, 3))),
    ]


def near_and_far(drawn):
    """Put the first row near 1000: the largest score of the table is then no use to the others."""
    scores, targets = drawn
    return scores + torch.tensor([[1000.0], [0.0]]), targets


@alternative
def ready_made(scores, targets):
    return F.cross_entropy(scores, targets)


@alternative
def one_example_at_a_time(scores, targets):
    return sum(row.logsumexp(0) - row[target] for row, target in zip(scores, targets, strict=True)) / len(targets)


@alternative
def by_gather(scores, targets):
    return -scores.log_softmax(-1).gather(1, targets[:, None]).squeeze(1).mean()


@mistake("This is negative: a logarithm of a probability is below 0. Put a minus in front.")
def no_minus(scores, targets):
    return -cross_entropy(scores, targets)


@mistake("The sum over all examples; the mean is wanted, so that the loss does not grow with their number.")
def summed(scores, targets):
    return cross_entropy(scores, targets) * len(targets)


@mistake(
    "Right formula, but it overflows: exp(1000) is infinite. First take the largest score of each row off, which "
    "changes no probability."
)
def overflows(scores, targets):
    log_probability = scores - scores.exp().sum(dim=-1, keepdim=True).log()
    return -log_probability[torch.arange(len(targets)), targets].mean()


@mistake(
    "Right idea, but it breaks where scores are large or far apart: exp(1000) is infinite, and a probability of "
    "exp(-200) is rounded to 0. Subtract the largest score, and take the logarithm by hand: "
    "log p = score - log(sum of exp)."
)
def logarithm_of_the_softmax(scores, targets):
    probabilities = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    return -probabilities[torch.arange(len(targets)), targets].log().mean()


@mistake(
    "Nearly: the softmax no longer overflows, but the probability of exp(-200) is rounded to 0, and its logarithm is "
    "infinite. Take the logarithm by hand: log p = score - log(sum of exp)."
)
def logarithm_of_a_safe_softmax(scores, targets):
    return -scores.softmax(-1)[torch.arange(len(targets)), targets].log().mean()


# The logarithm of a sum of zeros, or of a softmax that is zero; `max()` and `amax()` have different gradients then.
OF_THE_WHOLE_TABLE = (
    "The largest score of the whole table is taken off. A row far below it then has nothing but zeros after `exp`, and "
    "the logarithm of 0 is infinite. Each row has a largest score of its own: `dim=-1, keepdim=True`."
)


@mistake(OF_THE_WHOLE_TABLE)
def largest_of_all(scores, targets):
    return overflows.solution(scores - scores.max(), targets)


@mistake(OF_THE_WHOLE_TABLE)
def largest_of_all_by_amax(scores, targets):
    return overflows.solution(scores - scores.amax(), targets)


@mistake(OF_THE_WHOLE_TABLE)
def softmax_after_the_largest_of_all(scores, targets):
    return logarithm_of_the_softmax.solution(scores - scores.max(), targets)


@mistake(OF_THE_WHOLE_TABLE)
def softmax_after_the_largest_of_all_by_amax(scores, targets):
    return logarithm_of_the_softmax.solution(scores - scores.amax(), targets)


@mistake(
    "The largest score of each *column* is taken off, so the scores of a row lose different numbers, and its "
    "probabilities change. Take the largest of each row off: `dim=-1, keepdim=True`."
)
def largest_of_each_column(scores, targets):
    return overflows.solution(scores - scores.amax(dim=0, keepdim=True), targets)


@mistake(
    "This is the logarithm of the mean probability. It has to be the mean of the logarithms: each example has a "
    "surprise of its own, and only then comes the mean."
)
def logarithm_of_the_mean(scores, targets):
    return -scores.softmax(-1)[torch.arange(len(targets)), targets].mean().log()


@mistake("This is the mean probability, with a minus. The surprise is the *logarithm* of the probability: -log p.")
def no_logarithm(scores, targets):
    return -scores.softmax(-1)[torch.arange(len(targets)), targets].mean()


@mistake("This is 1 minus the probability. The surprise is the logarithm: -log p.")
def one_minus_probability(scores, targets):
    return (1 - scores.softmax(-1)[torch.arange(len(targets)), targets]).mean()


@mistake("This is in bits: it takes the logarithm to base 2. Here the natural logarithm is wanted, in nats.")
def in_bits(scores, targets):
    return cross_entropy(scores, targets) / torch.log(torch.tensor(2.0))


EVERY_COLUMN = (
    "`[:, targets]` takes every target's column in every row. One number from each row is wanted: "
    "`[torch.arange(len(targets)), targets]`."
)


@mistake(EVERY_COLUMN)
def every_column(scores, targets):
    return -scores.log_softmax(-1)[:, targets].mean()


@mistake(EVERY_COLUMN)
def every_column_of_a_safe_softmax(scores, targets):
    return -scores.softmax(-1)[:, targets].log().mean()


# The same mistake with the largest score of each column taken off, with that of each row, and with none.
OVER_THE_EXAMPLES = (
    "The exponentials are summed over the examples. Each row is one example, with probabilities of its own: sum along "
    "the row, `dim=-1`."
)


@mistake(OVER_THE_EXAMPLES)
def over_the_examples(scores, targets):
    return -scores.log_softmax(0)[torch.arange(len(targets)), targets].mean()


@mistake(OVER_THE_EXAMPLES)
def summed_over_the_examples(scores, targets):
    scores = scores - scores.amax(dim=-1, keepdim=True)
    return summed_over_the_examples_as_they_are.solution(scores, targets)


@mistake(OVER_THE_EXAMPLES)
def summed_over_the_examples_as_they_are(scores, targets):
    log_probability = scores - scores.exp().sum(dim=0, keepdim=True).log()
    return -log_probability[torch.arange(len(targets)), targets].mean()


@mistake(
    "The largest score is taken off before `exp`, and not off the score of the target. Both belong to one row: use the "
    "scores that are left in both places, in log p = score - log(sum of exp)."
)
def target_not_shifted(scores, targets):
    shifted = scores - scores.amax(dim=-1, keepdim=True)
    return (shifted.exp().sum(dim=-1).log() - scores[torch.arange(len(targets)), targets]).mean()


EXERCISE = Exercise(
    id="cross_entropy",
    title="Cross-entropy",
    points=2,
    minutes=8,
    difficulty=2,
    kind="code",
    hints=(
        "log p = score - log(sum of exp(scores)), for each row by itself. To a computer exp(1000) is infinite, and "
        "exp(-200) is 0. What could you take off each row first?",
        "Subtract the row's largest score, with `keepdim=True`. From what is left subtract the logarithm of the sum "
        "of its `exp`, row by row: that is log p of every choice. Pick one from each row, and remember the minus and "
        "the mean.",
    ),
    reference=cross_entropy,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("F.cross_entropy", "F.nll_loss", "nn.CrossEntropyLoss", "log_softmax", "logsumexp"),
    see="Primer, How wrong is it?",
)

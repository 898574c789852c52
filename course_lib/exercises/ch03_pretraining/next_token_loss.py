"""The loss of pre-training: the mean surprise at each next token."""

import math

import torch
from torch import nn

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def next_token_loss(logits, tokens):
    predictions, targets = logits[:, :-1], tokens[:, 1:]
    right = predictions.gather(-1, targets[..., None])[..., 0]
    return (predictions.logsumexp(dim=-1) - right).mean()


def cases(rng):
    def case(name, batch, length, vocab, shift=0.0, **tolerance):
        logits = torch.randn(batch, length, vocab, generator=rng) * 2 + shift
        return Case(name, (logits, torch.randint(vocab, (batch, length), generator=rng)), **tolerance)

    far = torch.randn(2, 4, 6, generator=rng).index_fill(2, torch.tensor(0), 200.0)  # and 0 is never what comes
    return [
        case("one row of 5 tokens", 1, 5, 7),
        case("a batch of 3", 3, 6, 11),
        case("two tokens, so one prediction", 2, 2, 4),
        # float32 rounds numbers near 1000 to 6e-5, and the loss is a difference of two of them.
        case("logits near 1000: no overflow", 2, 4, 6, shift=1000.0, rtol=2e-4, atol=2e-4),
        Case("one logit far above the right one", (far, torch.randint(1, 6, (2, 4), generator=rng))),
    ]


def remark(answer, right):
    """A surprise that something small has capped is told here: everybody adds another number."""
    loss, right = answer["output"], right["output"]
    if right > 100 and getattr(loss, "shape", None) == () and 10 < loss < 0.4 * right:
        return (
            f"the surprise cannot get larger than it is here (about {loss:.3g} nats). Is a small number added to the "
            "probabilities, or are they clamped? `logsumexp` needs no such help."
        )
    return None


@alternative
def ready_made(logits, tokens):
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@alternative
def by_rows(logits, tokens):
    logits = logits - logits.amax(-1, keepdim=True)
    log_p = logits - logits.exp().sum(-1, keepdim=True).log()
    found = [log_p[b, t, tokens[b, t + 1]] for b in range(len(tokens)) for t in range(tokens.shape[1] - 1)]
    return -sum(found) / len(found)


@alternative
def by_log_softmax(logits, tokens):
    log_p = torch.log_softmax(logits, dim=2)[:, :-1].reshape(-1, logits.shape[2])
    return -log_p[torch.arange(len(log_p)), tokens[:, 1:].reshape(-1)].mean()


@alternative
def place_by_place(logits, tokens):
    total, count = 0, 0
    for b in range(len(tokens)):
        for t in range(tokens.shape[1] - 1):
            total = total + logits[b, t].logsumexp(dim=0) - logits[b, t, tokens[b, t + 1]]
            count += 1
    return total / count


def mean_surprise(logits, targets):
    """The mean surprise at the targets, given the logits at the same places: no shift."""
    return (logits.logsumexp(-1) - logits.gather(-1, targets[..., None])[..., 0]).mean()


def of_targets(values, targets):
    return values.gather(-1, targets[..., None])[..., 0]


# With all tokens, or with all but the first.
NOT_SHIFTED = (
    "Each place is scored on its own token, which the model has just read. The logits at place t are about token "
    "t + 1: `logits[:, :-1]` belong to `tokens[:, 1:]`."
)


@mistake(NOT_SHIFTED)
def not_shifted(logits, tokens):
    return mean_surprise(logits, tokens)


@mistake(NOT_SHIFTED)
def not_shifted_without_the_first(logits, tokens):
    return mean_surprise(logits[:, 1:], tokens[:, 1:])


@mistake(NOT_SHIFTED)
def not_shifted_without_the_last(logits, tokens):
    return mean_surprise(logits[:, :-1], tokens[:, :-1])


@mistake(
    "The shift goes the wrong way: this scores the logits at place t on token t - 1, but they are about token t + 1. "
    "`logits[:, :-1]` belong to `tokens[:, 1:]`."
)
def shifted_the_wrong_way(logits, tokens):
    return mean_surprise(logits[:, 1:], tokens[:, :-1])


@mistake(
    "The rows run into each other: the last place of one row is scored on the first token of the next. Shift each row "
    "by itself, before you flatten."
)
def rows_run_into_each_other(logits, tokens):
    return mean_surprise(logits.flatten(0, 1)[:-1], tokens.flatten()[1:])


@mistake(
    "`roll` brings the first token of a row to its end, where there is nothing to predict. Drop the last place of each "
    "row."
)
def rolled(logits, tokens):
    return mean_surprise(logits, tokens.roll(-1, dims=1))


@mistake("This is the sum over all predictions; return their mean.")
def sum_instead_of_mean(logits, tokens):
    return next_token_loss(logits, tokens) * tokens[:, 1:].numel()


@mistake("This is in bits. Take the natural logarithm: the loss is in nats.")
def in_bits(logits, tokens):
    return next_token_loss(logits, tokens) / math.log(2)


@mistake(
    "Nearly: this divides by the number of tokens. The first token of a row is never predicted, so there are fewer "
    "predictions than tokens: divide by the number of predictions."
)
def divided_by_all_tokens(logits, tokens):
    n_predictions = tokens[:, 1:].numel()
    return next_token_loss(logits, tokens) * n_predictions / tokens.numel()


# In three ways: the loss is NaN or infinite, and at the last place, which predicts nothing, the gradient is 0 or NaN.
OVERFLOWS = "Right idea, but it overflows: exp(1000) is infinite. Use `logsumexp`, or subtract the largest logit first."


@mistake(OVERFLOWS)
def overflows(logits, tokens):
    e = logits[:, :-1].exp()
    probabilities = e / e.sum(-1, keepdim=True)
    return -of_targets(probabilities, tokens[:, 1:]).log().mean()


@mistake(OVERFLOWS)
def overflows_before_the_shift(logits, tokens):
    e = logits.exp()
    probabilities = e / e.sum(-1, keepdim=True)
    return -of_targets(probabilities[:, :-1], tokens[:, 1:]).log().mean()


@mistake(OVERFLOWS)
def sum_overflows(logits, tokens):
    predictions = logits[:, :-1]
    return (predictions.exp().sum(-1).log() - of_targets(predictions, tokens[:, 1:])).mean()


# The axis of the places has another length before the shift.
OVER_THE_PLACES = (
    "The softmax runs over the places of a row. At each place it has to compare the tokens of the vocabulary: take the "
    "last axis, `dim=-1`."
)


@mistake(OVER_THE_PLACES)
def softmax_over_the_places(logits, tokens):
    return -of_targets(logits[:, :-1].log_softmax(1), tokens[:, 1:]).mean()


@mistake(OVER_THE_PLACES)
def softmax_over_the_places_before_the_shift(logits, tokens):
    return -of_targets(logits.log_softmax(1)[:, :-1], tokens[:, 1:]).mean()


@mistake(
    "The probability is rounded to 0 before the logarithm is taken, and the logarithm of 0 is infinite. Use "
    "`logsumexp`, which never leaves the logarithms."
)
def softmax_before_logarithm(logits, tokens):
    probabilities = logits.softmax(-1)
    return -of_targets(probabilities[:, :-1], tokens[:, 1:]).log().mean()


@mistake("The sign is flipped: surprise is *minus* the logarithm of the probability, and never negative.")
def sign_flipped(logits, tokens):
    return -next_token_loss(logits, tokens)


@mistake("This is minus the mean probability of the next token. Its logarithm is missing.")
def no_logarithm(logits, tokens):
    return -of_targets(logits[:, :-1].softmax(-1), tokens[:, 1:]).mean()


def surprises(logits, tokens):
    """The right surprise at each place, (batch, length - 1)."""
    predictions = logits[:, :-1]
    return predictions.logsumexp(-1) - of_targets(predictions, tokens[:, 1:])


@mistake("These are the surprises at all places, and they are right. One step more: their mean, a single number.")
def one_for_each_place(logits, tokens):
    return surprises(logits, tokens)


@mistake("This is a mean for each row. Take it over all rows as well: a single number.")
def one_for_each_row(logits, tokens):
    return surprises(logits, tokens).mean(1)


@mistake("The surprises of a row are added up, and divided by the number of rows. Divide by the number of all places.")
def divided_by_the_rows(logits, tokens):
    return surprises(logits, tokens).sum() / len(tokens)


@mistake(
    "This is the surprise at the mean probability. The loss is the mean of the surprises: take the logarithm first, "
    "and then the mean."
)
def logarithm_of_the_mean(logits, tokens):
    return -surprises(logits, tokens).neg().exp().mean().log()


@mistake(
    "This is minus the mean logit of the next token. A logit is no logarithm of a probability yet: take off "
    "`logsumexp` of all logits at its place."
)
def logits_alone(logits, tokens):
    return -of_targets(logits[:, :-1], tokens[:, 1:]).mean()


@mistake("The shift runs along the batch: `logits[:-1]` drops a row. The places are axis 1, `logits[:, :-1]`.")
def shifted_along_the_batch(logits, tokens):
    return mean_surprise(logits[:-1], tokens[1:])


@mistake("This is the perplexity, e to the power of the loss. Return the loss itself.")
def perplexity(logits, tokens):
    return surprises(logits, tokens).mean().exp()


@mistake(
    "Only the first row was looked at. Is the `return` inside the loop over the rows? Then the function ends in its "
    "first round: move it to the left."
)
def first_row_alone(logits, tokens):
    return surprises(logits[:1], tokens[:1]).mean()


@mistake("Only the last token of each row was scored. Every token but the first has logits before it.")
def last_token_alone(logits, tokens):
    return surprises(logits, tokens)[:, -1].mean()


@mistake("The first place is left out. Its logits are about the second token: places count from 0.")
def first_place_left_out(logits, tokens):
    found = surprises(logits, tokens)[:, 1:]
    return found.sum() / max(1, found.numel())


@mistake(
    "The largest logit is subtracted in one of the two places. It cancels only if it is also taken off the logit of "
    "the right token."
)
def largest_subtracted_once(logits, tokens):
    return (surprises(logits, tokens) - logits[:, :-1].amax(-1)).mean()


@mistake(
    "`logsumexp` runs over the places of a row here. At each place it has to run over the vocabulary: the last axis, "
    "`-1`."
)
def logsumexp_over_the_places(logits, tokens):
    predictions = logits[:, :-1]
    return predictions.logsumexp(1).mean() - of_targets(predictions, tokens[:, 1:]).mean()


@mistake("The last place that predicts is left out. There are `length - 1` of them in each row.")
def last_prediction_left_out(logits, tokens):
    found = surprises(logits, tokens)[:, :-1]
    return found.sum() / max(1, found.numel())


@mistake(
    "The logit of the right token is added to `logsumexp`. Take it off: the higher it is, the smaller the surprise."
)
def right_logit_added(logits, tokens):
    predictions = logits[:, :-1]
    return (predictions.logsumexp(-1) + of_targets(predictions, tokens[:, 1:])).mean()


EXERCISE = Exercise(
    id="next_token_loss",
    title="The loss of pre-training",
    points=3,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Which logits are about which token? Drop the last logits and the first token, and they line up. "
        "The logarithm of a softmax is the logit minus `logsumexp` of all logits.",
        "`logits[:, :-1]` and `tokens[:, 1:]` line up. `gather` wants an index with as many axes as the logits, which "
        "`[..., None]` gives, and what it picks still has that last axis: take it away, `[..., 0]`. The surprise is "
        "`logsumexp` less what was picked.",
    ),
    reference=next_token_loss,
    cases=cases,
    run_case=call_and_differentiate,
    remark=remark,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("cross_entropy", "nll_loss", "CrossEntropyLoss"),
    see="Chapter 3, The text is the teacher",
)

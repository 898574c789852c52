"""The loss of fine-tuning on examples, the mean surprise at the tokens of the replies alone; a fault in it is found."""

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


def masked_loss(logits, ids, mask):
    log_p = logits[:, :-1].log_softmax(dim=-1)
    surprise = -log_p.gather(-1, ids[:, 1:, None])[..., 0]
    kept = mask[:, 1:].to(surprise.dtype)
    return (surprise * kept).sum() / kept.sum()


def cases(rng):
    def case(name, batch, length, vocab, starts):
        logits = torch.randn(batch, length, vocab, generator=rng) * 2
        mask = torch.arange(length) >= torch.tensor(starts)[:, None]
        return Case(name, (logits, torch.randint(vocab, (batch, length), generator=rng), mask))

    logits, ids = torch.randn(2, 9, 6, generator=rng) * 2, torch.randint(6, (2, 9), generator=rng)
    replies = torch.tensor([[0, 0, 1, 1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 0, 0, 1, 1]]).bool()
    several = Case("two conversations, with two replies each", (logits, ids, replies))
    return [
        case("one conversation", 1, 7, 5, [4]),
        case("three, with replies of 5, 2 and 1 tokens", 3, 8, 6, [3, 6, 7]),
        case("two, of which one has the longer reply", 2, 6, 9, [1, 4]),
        case("two texts of which every token is in the mask, the first one too", 2, 5, 7, [0, 0]),
        several,
    ]


@alternative
def ready_made(logits, ids, mask):
    targets = ids[:, 1:].masked_fill(~mask[:, 1:], -100)
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten())


@alternative
def by_indexing(logits, ids, mask):
    rows, places = mask[:, 1:].nonzero(as_tuple=True)
    chosen = logits[rows, places]
    return (chosen.logsumexp(-1) - chosen[torch.arange(len(rows)), ids[rows, places + 1]]).mean()


def surprise(logits, targets):
    """-log p of each target, given the logits at the same place."""
    return -logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def mean_where(mask, values):
    return (values * mask).sum() / mask.sum()


@alternative
def by_loops(logits, ids, mask):
    total, counted = 0.0, 0
    for row in range(len(ids)):
        for t in range(1, ids.shape[1]):
            if mask[row, t]:
                total = total - logits[row, t - 1].log_softmax(dim=0)[ids[row, t]]
                counted += 1
    return total / counted


@mistake(
    "The mask is not used: this is the loss on all tokens, those of the prompts included. Keep the surprises where "
    "`mask[:, 1:]` is True."
)
def no_mask(logits, ids, mask):
    return surprise(logits[:, :-1], ids[:, 1:]).mean()


@mistake(
    "The fault is still there: the tokens are shifted and the mask is not. The surprise at place t is about token t + "
    "1. Whose mask decides whether it counts?",
    given=True,
)
def mask_not_shifted(logits, ids, mask):
    return mean_where(mask[:, :-1], surprise(logits[:, :-1], ids[:, 1:]))


@mistake(
    "Half of it: the sum is right, but it is divided by the number of the tokens in the mask that is not shifted. "
    "Divide by `mask[:, 1:].sum()`."
)
def sum_alone_is_shifted(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum() / mask[:, :-1].sum()


@mistake(
    "The mask is shifted the wrong way, or twice. The surprise at place t is about token t + 1: it counts where "
    "`mask[:, 1:]` is True."
)
def mask_shifted_the_wrong_way(logits, ids, mask):
    return mean_where(mask.roll(1, dims=1)[:, :-1], surprise(logits[:, :-1], ids[:, 1:]))


@mistake(
    "The sum is right, but it is divided by the number of all tokens, so a long prompt would make the loss small. "
    "Divide by the number of tokens that count, `mask[:, 1:].sum()`."
)
def divided_by_all_tokens(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).mean()


@mistake(
    "This takes the mean of each row first, so a token of a short reply weighs more than one of a long reply. Sum over "
    "the whole batch, then divide once."
)
def mean_of_the_means_of_rows(logits, ids, mask):
    counted = mask[:, 1:]
    return ((surprise(logits[:, :-1], ids[:, 1:]) * counted).sum(1) / counted.sum(1)).mean()


@mistake(
    "Nearly: the number that you divide by includes the first column of the mask. Nothing predicts the first token, so "
    "divide by `mask[:, 1:].sum()`."
)
def first_column_counted(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum() / mask.sum()


@mistake(
    "Where the mask is False the target is set to token 0, and scored all the same. Leave these places out of the sum, "
    "and out of the number that you divide by."
)
def other_targets_are_token_0(logits, ids, mask):
    return surprise(logits[:, :-1], ids[:, 1:].masked_fill(~mask[:, 1:], 0)).mean()


@mistake("The mask is the wrong way round: this is the loss on the tokens that do *not* count.")
def mask_upside_down(logits, ids, mask):
    return surprise(logits[:, :-1], ids[:, 1:])[~mask[:, 1:]].mean()


@mistake(
    "The tokens of the replies are picked first and shifted afterwards, so one reply runs into the next, and the first "
    "token of a reply is never scored. Shift first, each row by itself, then pick with `mask[:, 1:]`."
)
def picked_before_the_shift(logits, ids, mask):
    return surprise(logits[mask][:-1], ids[mask][1:]).mean()


@mistake(
    "The rows run into each other: the last place of one row is scored on the first token of the next. Shift each row "
    "by itself, before you flatten."
)
def rows_run_into_each_other(logits, ids, mask):
    return mean_where(mask.flatten()[1:], surprise(logits.flatten(0, 1)[:-1], ids.flatten()[1:]))


@mistake(
    "`gather` leaves an axis of size 1 at the end, so the product with the mask pairs every token with every other. "
    "Drop that axis: `[..., 0]`, or `.squeeze(-1)`."
)
def axis_of_size_1_left(logits, ids, mask):
    kept = mask[:, 1:]
    return (surprise(logits[:, :-1], ids[:, 1:])[..., None] * kept).sum() / kept.sum()


# The axis of the places has another length before the shift.
OVER_THE_PLACES = (
    "The softmax runs over the places of a row. At each place it has to compare the tokens of the vocabulary: take the "
    "last axis, `dim=-1`."
)


@mistake(OVER_THE_PLACES)
def softmax_over_the_places(logits, ids, mask):
    log_p = logits[:, :-1].log_softmax(1)
    return mean_where(mask[:, 1:], -log_p.gather(-1, ids[:, 1:, None])[..., 0])


@mistake(OVER_THE_PLACES)
def softmax_over_the_places_before_the_shift(logits, ids, mask):
    log_p = logits.log_softmax(1)[:, :-1]
    return mean_where(mask[:, 1:], -log_p.gather(-1, ids[:, 1:, None])[..., 0])


@mistake("This is in bits. Take the natural logarithm: the loss is in nats.")
def in_bits(logits, ids, mask):
    return masked_loss(logits, ids, mask) / math.log(2)


@mistake("This is minus the mean probability of the tokens that count. Its logarithm is missing.")
def no_logarithm(logits, ids, mask):
    return -mean_where(mask[:, 1:], (-surprise(logits[:, :-1], ids[:, 1:])).exp())


@mistake("This is the sum over the tokens that count. Divide it by their number: the mean is asked for.")
def sum_instead_of_mean(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum()


@mistake(
    "This is the sum over each row, and then the mean of the rows. Divide the sum over all rows by the number of "
    "tokens that count."
)
def mean_of_the_sums_of_rows(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum(1).mean()


# With the mask shifted, or as it came.
LOGITS_MASKED = (
    "The mask multiplies the logits. Where all logits are 0 a token still costs log(vocabulary): multiply the "
    "surprises by the mask instead, and divide by the number of tokens that count."
)


@mistake(LOGITS_MASKED)
def logits_masked(logits, ids, mask):
    return surprise(logits[:, :-1] * mask[:, 1:, None], ids[:, 1:]).mean()


@mistake(LOGITS_MASKED)
def logits_masked_before_the_shift(logits, ids, mask):
    return surprise((logits * mask[..., None])[:, :-1], ids[:, 1:]).mean()


# With either end of the mask.
WRONG_WAY = (
    "The shift goes the wrong way: the logits at place t are about token t + 1, not t - 1. `logits[:, :-1]` belong to "
    "`ids[:, 1:]`."
)


@mistake(WRONG_WAY)
def shifted_the_wrong_way(logits, ids, mask):
    return mean_where(mask[:, :-1], surprise(logits[:, 1:], ids[:, :-1]))


@mistake(WRONG_WAY)
def shifted_the_wrong_way_but_not_the_mask(logits, ids, mask):
    return mean_where(mask[:, 1:], surprise(logits[:, 1:], ids[:, :-1]))


@mistake("The sign is flipped: this is the mean of log p, which is below zero. The surprise is -log p.")
def sign_flipped(logits, ids, mask):
    return -masked_loss(logits, ids, mask)


@mistake(
    "Each place is scored on its own token, which the model has just read. The logits at place t are about token t + "
    "1: `logits[:, :-1]` belong to `ids[:, 1:]`."
)
def not_shifted(logits, ids, mask):
    return mean_where(mask, surprise(logits, ids))


@mistake(
    "Token 0 is left out wherever it stands, as if it were the mark for a token that does not count. It may be a token "
    "of a reply like any other. `mask[:, 1:]` alone says what counts."
)
def token_0_is_ignored(logits, ids, mask):
    counted = mask[:, 1:] & (ids[:, 1:] != 0)
    return mean_where(counted, surprise(logits[:, :-1], ids[:, 1:]))


EXERCISE = Exercise(
    id="masked_loss",
    title="The loss on replies, with a fault",
    points=2,
    minutes=8,
    difficulty=2,
    kind="debug",
    hints=(
        "Write the tokens, the surprises and the mask below each other. Which token is the first surprise about? And "
        "which entry of the mask does it meet?",
        "The surprises are about the tokens 1, 2, 3 and so on. Which columns of the mask belong to these tokens? The "
        "mask decides twice: which surprises are added up, and by how many the sum is divided.",
    ),
    reference=masked_loss,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Only the reply counts",
)

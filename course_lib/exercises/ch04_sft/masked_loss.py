"""The loss of fine-tuning on examples: the mean surprise at the tokens of the replies alone."""

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

    return [
        case("one conversation", 1, 7, 5, [4]),
        case("three, with replies of 5, 2 and 1 tokens", 3, 8, 6, [3, 6, 7]),
        case("two, of which one has the longer reply", 2, 6, 9, [1, 4]),
        case("two texts of which every token is in the mask, the first one too", 2, 5, 7, [0, 0]),
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


@mistake(
    "The mask is not used: this is the loss on all tokens, those of the prompts included. Keep the surprises where "
    "`mask[:, 1:]` is True."
)
def no_mask(logits, ids, mask):
    return surprise(logits[:, :-1], ids[:, 1:]).mean()


@mistake(
    "Nearly: the tokens are shifted and the mask is not. The surprise at place t is about token t + 1, so it counts "
    "where `mask[:, 1:]` is True."
)
def mask_not_shifted(logits, ids, mask):
    return mean_where(mask[:, :-1], surprise(logits[:, :-1], ids[:, 1:]))


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


@mistake("This is the sum over the tokens that count. Divide it by their number: the mean is asked for.")
def sum_instead_of_mean(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum()


@mistake(
    "This is the sum over each row, and then the mean of the rows. Divide the sum over all rows by the number of "
    "tokens that count."
)
def mean_of_the_sums_of_rows(logits, ids, mask):
    return (surprise(logits[:, :-1], ids[:, 1:]) * mask[:, 1:]).sum(1).mean()


@mistake(
    "The mask multiplies the logits. Where all logits are 0 a token still costs log(vocabulary): multiply the "
    "surprises by the mask instead, and divide by the number of tokens that count."
)
def logits_masked(logits, ids, mask):
    return surprise(logits[:, :-1] * mask[:, 1:, None], ids[:, 1:]).mean()


@mistake(
    "The shift goes the wrong way: the logits at place t are about token t + 1, not t - 1. `logits[:, :-1]` belong to "
    "`ids[:, 1:]`."
)
def shifted_the_wrong_way(logits, ids, mask):
    return mean_where(mask[:, :-1], surprise(logits[:, 1:], ids[:, :-1]))


@mistake("The sign is flipped: this is the mean of log p, which is below zero. The surprise is -log p.")
def sign_flipped(logits, ids, mask):
    return -masked_loss(logits, ids, mask)


@mistake(
    "Each place is scored on its own token, which the model has just read. The logits at place t are about token "
    "t + 1: `logits[:, :-1]` belong to `ids[:, 1:]`."
)
def not_shifted(logits, ids, mask):
    return mean_where(mask, surprise(logits, ids))


EXERCISE = Exercise(
    id="masked_loss",
    title="The loss on replies",
    points=2,
    minutes=10,
    difficulty=2,
    hints=(
        "First the surprise at every token but the first, as in pre-training. Then keep those where the *token* "
        "that is predicted is in the mask.",
        "`surprise = -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]`, then "
        "`(surprise * mask[:, 1:]).sum() / mask[:, 1:].sum()`.",
    ),
    reference=masked_loss,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Only the reply counts",
)

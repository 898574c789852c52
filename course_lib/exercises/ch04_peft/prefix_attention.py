"""Attention with a trained prefix: keys and values that belong to no token of the text (Li and Liang 2021)."""

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


def prefix_attention(query, key, value, prefix_key, prefix_value):
    n, tokens = prefix_key.shape[-2], query.shape[-2]
    key = torch.cat((prefix_key, key), dim=-2)
    value = torch.cat((prefix_value, value), dim=-2)
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    seen = torch.ones(tokens, n + tokens, dtype=torch.bool, device=query.device).tril(n)
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ value


def cases(rng):
    def case(name, leading, tokens, n, size, loud=1.0, **tolerances):
        parts = [loud * torch.randn(*leading, length, size, generator=rng) for length in (tokens, tokens, tokens, n, n)]
        return Case(name, tuple(parts), **tolerances)

    return [
        case("4 tokens, a prefix of 2", (), 4, 2, 3),
        case("a prefix of no length", (2,), 3, 0, 4),
        case("2 texts, 2 heads, 5 tokens, a prefix of 3", (2, 2), 5, 3, 4),
        case("one token, a prefix of 4", (1, 2), 1, 4, 6),
        # Scores near 1000 are rounded to 1e-4, and so are weights of about one half.
        case("large numbers", (2,), 4, 1, 5, loud=30.0, rtol=1e-3, atol=1e-3),
    ]


@alternative
def ready_made(query, key, value, prefix_key, prefix_value):
    n, tokens = prefix_key.shape[-2], query.shape[-2]
    seen = torch.cat((torch.ones(tokens, n, dtype=torch.bool), torch.ones(tokens, tokens).tril().bool()), dim=1)
    keys, values = torch.cat((prefix_key, key), -2), torch.cat((prefix_value, value), -2)
    return nn.functional.scaled_dot_product_attention(query, keys, values, seen)


@alternative
def query_by_query(query, key, value, prefix_key, prefix_value):
    rows = []
    for t in range(query.shape[-2]):
        keys = torch.cat((prefix_key, key[..., : t + 1, :]), dim=-2)
        values = torch.cat((prefix_value, value[..., : t + 1, :]), dim=-2)
        scores = (keys @ query[..., t, :, None]).squeeze(-1) * query.shape[-1] ** -0.5
        rows.append((scores.softmax(-1)[..., None] * values).sum(-2))
    return torch.stack(rows, dim=-2)


# The parts that nearly all the mistakes below share with the right answer.


def in_front(prefix, of_text):
    return torch.cat((prefix, of_text), dim=-2)


def scaled_scores(query, keys):
    return query @ keys.mT / query.shape[-1] ** 0.5


def visible(scores, diagonal):
    """True up to and including this diagonal; the right one is n, the length of the prefix."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool).tril(diagonal)


def average(scores, seen, values):
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ values


@mistake(
    "Each query sees too little: the mask begins at the prefix as if that were text. Query t sees all n pairs of the "
    "prefix, and the tokens up to t: move the diagonal of the mask by n."
)
def diagonal_not_moved(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, visible(scores, 0), in_front(prefix_value, value))


@mistake(
    "Each query sees one token too many: the next one, which it should predict. The diagonal of the mask moves by n, "
    "not by n + 1."
)
def one_too_far(query, key, value, prefix_key, prefix_value):
    n = prefix_key.shape[-2]
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, visible(scores, n + 1), in_front(prefix_value, value))


OWN_TOKEN_HIDDEN = (
    "Each query sees one token too few: its own is hidden from it. Of the text, query t sees the tokens 0 to t, itself "
    "among them."
)


@mistake(OWN_TOKEN_HIDDEN)
def own_token_hidden(query, key, value, prefix_key, prefix_value):
    n = prefix_key.shape[-2]
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, visible(scores, n - 1), in_front(prefix_value, value))


@mistake(OWN_TOKEN_HIDDEN)
def own_token_hidden_query_by_query(query, key, value, prefix_key, prefix_value):
    rows = []
    for t in range(query.shape[-2]):
        scores = scaled_scores(query[..., t : t + 1, :], in_front(prefix_key, key[..., :t, :]))
        rows.append(scores.softmax(-1) @ in_front(prefix_value, value[..., :t, :]))
    return torch.cat(rows, dim=-2)


@mistake(
    "The mask is missing, so queries see later tokens. Every query sees the whole prefix, but of the text only the "
    "tokens up to its own."
)
def no_mask(query, key, value, prefix_key, prefix_value):
    return scaled_scores(query, in_front(prefix_key, key)).softmax(-1) @ in_front(prefix_value, value)


@mistake(
    "The prefix is behind the tokens, so the mask opens the wrong places. Put the prefix in front: "
    "`torch.cat((prefix_key, key), dim=-2)`."
)
def prefix_behind_the_text(query, key, value, prefix_key, prefix_value):
    n = prefix_key.shape[-2]
    scores = scaled_scores(query, in_front(key, prefix_key))
    return average(scores, visible(scores, n), in_front(value, prefix_value))


@mistake("The scale is missing: divide the scores by the square root of head_dim.")
def not_scaled(query, key, value, prefix_key, prefix_value):
    n = prefix_key.shape[-2]
    scores = query @ in_front(prefix_key, key).mT
    return average(scores, visible(scores, n), in_front(prefix_value, value))


@mistake(
    "This is attention to the text alone; the prefix has no effect. Put its keys and values in front, and let the mask "
    "be True in its columns, for every query."
)
def no_prefix(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, key)
    return average(scores, visible(scores, 0), value)


@mistake(
    "The mask comes after the softmax, so the weights of a query no longer sum to 1. Set the scores to -inf before the "
    "softmax."
)
def masked_after_softmax(query, key, value, prefix_key, prefix_value):
    n = prefix_key.shape[-2]
    scores = scaled_scores(query, in_front(prefix_key, key))
    return scores.softmax(-1) * visible(scores, n) @ in_front(prefix_value, value)


@mistake(
    "The prefix has a softmax of its own, so it weighs as much as all the text. Put the scores of prefix and text "
    "under one softmax."
)
def two_softmaxes(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, key)
    of_text = average(scores, visible(scores, 0), value)
    return of_text + scaled_scores(query, prefix_key).softmax(-1) @ prefix_value


@mistake(
    "The softmax runs over the queries. The weights of one *query* over all keys sum to 1: take the last axis, "
    "`dim=-1`."
)
def softmax_over_the_queries(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    seen = visible(scores, prefix_key.shape[-2])
    return scores.masked_fill(~seen, -torch.inf).softmax(-2) @ in_front(prefix_value, value)


@mistake(
    "The hidden scores are set to 0, and a score of 0 still gets a weight: exp(0) is 1. Set them to -inf, whose "
    "exponential is 0."
)
def hidden_scores_are_0(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    seen = visible(scores, prefix_key.shape[-2])
    return scores.masked_fill(~seen, 0).softmax(-1) @ in_front(prefix_value, value)


@mistake(
    "The mask is the wrong way round. `masked_fill(m, -torch.inf)` hides the places where `m` is *True*: it takes "
    "those that are not seen."
)
def mask_upside_down(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, ~visible(scores, prefix_key.shape[-2]), in_front(prefix_value, value))


@mistake(
    "This keeps the upper triangle, so each query sees the tokens from its own on. It should see those up to its own: "
    "`tril`."
)
def upper_triangle(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(prefix_key.shape[-2])
    return average(scores, seen, in_front(prefix_value, value))


@mistake("The scores are divided by head_dim. Divide them by its square root.")
def divided_by_head_dim(query, key, value, prefix_key, prefix_value):
    scores = query @ in_front(prefix_key, key).mT / query.shape[-1]
    return average(scores, visible(scores, prefix_key.shape[-2]), in_front(prefix_value, value))


@mistake(
    "The scores are divided by the root of the number of keys. Divide them by the root of `head_dim`, the last axis of "
    "the query."
)
def divided_by_the_keys(query, key, value, prefix_key, prefix_value):
    keys = in_front(prefix_key, key)
    scores = query @ keys.mT / keys.shape[-2] ** 0.5
    return average(scores, visible(scores, prefix_key.shape[-2]), in_front(prefix_value, value))


@mistake("The weights are divided, in place of the scores, so they no longer sum to 1. Divide before the softmax.")
def weights_divided(query, key, value, prefix_key, prefix_value):
    scores = query @ in_front(prefix_key, key).mT
    values = in_front(prefix_value, value)
    return average(scores, visible(scores, prefix_key.shape[-2]), values) / query.shape[-1] ** 0.5


@mistake("The keys of the prefix stand in front of the values too. Put `prefix_value` there.")
def prefix_keys_for_values(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, visible(scores, prefix_key.shape[-2]), in_front(prefix_key, value))


@mistake(
    "The mask is made for a prefix behind the text, and the prefix is in front of it. The first n columns of the mask "
    "belong to the prefix, and are True for every query."
)
def mask_for_a_prefix_behind(query, key, value, prefix_key, prefix_value):
    n = prefix_key.shape[-2]
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, visible(scores, n).roll(-n, dims=-1), in_front(prefix_value, value))


@mistake(
    "The prefix is masked as the text is, so early queries see only a part of it. Every query sees the *whole* prefix: "
    "its n columns of the mask are True in all rows."
)
def prefix_is_causal_too(query, key, value, prefix_key, prefix_value):
    tokens, n = query.shape[-2], prefix_key.shape[-2]
    scores = scaled_scores(query, in_front(prefix_key, key))
    seen = torch.cat([torch.ones(tokens, m, dtype=torch.bool).tril() for m in (n, tokens)], dim=1)
    return average(scores, seen, in_front(prefix_value, value))


@mistake(
    "This is the mean of two attentions, one to the prefix and one to the text. There is one softmax for both: how "
    "much the prefix counts is for the scores to say."
)
def mean_of_two(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, key)
    of_text = average(scores, visible(scores, 0), value)
    of_prefix = scaled_scores(query, prefix_key).softmax(-1) @ prefix_value
    return (of_text + of_prefix) / 2 if prefix_key.shape[-2] else of_text


@mistake("The softmax is missing: scores are no weights. Take it over the last axis, after the mask.")
def no_softmax(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    return scores.masked_fill(~visible(scores, prefix_key.shape[-2]), 0) @ in_front(prefix_value, value)


@mistake("The scores are multiplied by the square root of head_dim. Divide them by it.")
def multiplied_by_the_root(query, key, value, prefix_key, prefix_value):
    scores = query @ in_front(prefix_key, key).mT * query.shape[-1] ** 0.5
    return average(scores, visible(scores, prefix_key.shape[-2]), in_front(prefix_value, value))


@mistake(
    "Keys and values stand in different orders, so the weight of one token goes to the value of another. The prefix "
    "comes first in both."
)
def values_in_another_order(query, key, value, prefix_key, prefix_value):
    scores = scaled_scores(query, in_front(prefix_key, key))
    return average(scores, visible(scores, prefix_key.shape[-2]), in_front(value, prefix_value))


EXERCISE = Exercise(
    id="prefix_attention",
    title="Keys and values in front",
    points=3,
    minutes=15,
    difficulty=3,
    kind="code",
    hints=(
        "Put the prefix in front of keys and values with `torch.cat(..., dim=-2)`. Then there are more keys than "
        "queries. Which keys may query t see?",
        "The mask has a row for each query and n + tokens columns. Row 0 begins with n + 1 times True, row 1 with one "
        "more, and so on: `tril` takes a number by which the diagonal moves. The scores of the others are -inf before "
        "the softmax.",
    ),
    reference=prefix_attention,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Three other small parts",
)

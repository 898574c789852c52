"""Scaled dot-product attention (Vaswani et al. 2017, equation 1)."""

import math

import torch
from torch import nn

from course_lib.exercises.ch01_attention.softmax import softmax
from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # exp(-inf) = 0: no weight, and the rest still sums to 1
    return softmax(scores, dim=-1) @ v


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    window = causal & ~causal.tril(-2)  # each query sees itself and the token before
    padding = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)[:, None, None, :]
    batch = (2, 3, 5, 16)
    rows, low = torch.arange(16) > 0, torch.zeros(16).index_fill(0, torch.tensor([0]), 64.0)  # 64 * -64 / 4 is -1024
    return [
        Case("3 queries, 5 keys, wider values, no mask", (normal(3, 4), normal(5, 4), normal(5, 7))),
        Case("5 tokens under a causal mask", (normal(5, 8), normal(5, 8), normal(5, 8), causal)),
        Case("a batch of 2 with 3 heads, causal", (normal(*batch), normal(*batch), normal(*batch), causal)),
        Case("a batch of 2 with 3 heads, no mask", (normal(2, 3, 4, 8), normal(2, 3, 6, 8), normal(2, 3, 6, 8))),
        Case("a mask for each text", (normal(2, 3, 4, 8), normal(2, 3, 6, 8), normal(2, 3, 6, 8), padding)),
        Case("each query sees one neighbour", (normal(5, 3), normal(5, 3), normal(5, 3), window)),
        # A hidden score of -20 or -1000 is as good as none beside scores near 0, and takes all the weight here.
        Case(
            "scores near -1000 under a causal mask",
            (normal(5, 16) * rows + low, normal(5, 16) * rows - low, normal(5, 4), causal),
            rtol=1e-3,
            atol=1e-3,
        ),
        # Scores near 500 in float32 are rounded to 3e-5, and softmax turns that into a relative error of its size.
        Case("large scores: no overflow", (normal(4, 64) * 8, normal(4, 64) * 8, normal(4, 64)), rtol=1e-3, atol=1e-3),
    ]


@alternative
def by_einsum(q, k, v, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", q * q.size(-1) ** -0.5, k)
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e30, dtype=scores.dtype))
    return torch.einsum("...qk,...kd->...qd", scores.softmax(-1), v)


@alternative
def key_by_key(q, k, v, mask=None):
    n_keys, columns = k.shape[-2], []
    for s in range(n_keys):
        columns.append((q * k[..., s : s + 1, :]).sum(dim=-1))
    scores = torch.stack(columns, dim=-1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask == False, -math.inf)  # noqa: E712, as learners write it
    weights = softmax(scores)
    out = 0
    for s in range(n_keys):
        out = out + weights[..., s : s + 1] * v[..., s : s + 1, :]
    return out


@alternative
def ready_made(q, k, v, mask=None):
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


# The two steps that nearly all the mistakes below share with the right answer.


def scaled(q, k):
    return q @ k.mT / q.shape[-1] ** 0.5


def hide(scores, mask, score=-math.inf):
    return scores if mask is None else scores.masked_fill(~mask, score)


@mistake(
    "This looks like attention without the scale: divide the scores by the square root of d, the width of a query."
)
def no_scale(q, k, v, mask=None):
    return hide(q @ k.mT, mask).softmax(-1) @ v


@mistake("The scores are divided by d, the width of a query: divide by its square root.")
def divided_by_d(q, k, v, mask=None):
    return hide(q @ k.mT / q.shape[-1], mask).softmax(-1) @ v


@mistake("The scores are multiplied by the square root of d: divide by it.")
def multiplied(q, k, v, mask=None):
    return hide(q @ k.mT * q.shape[-1] ** 0.5, mask).softmax(-1) @ v


@mistake(
    "The scores are divided by the square root of the number of keys. It is the width of a query, `q.shape[-1]`, that "
    "makes dot products grow."
)
def divided_by_the_number_of_keys(q, k, v, mask=None):
    return hide(q @ k.mT / k.shape[-2] ** 0.5, mask).softmax(-1) @ v


@mistake("The scale comes after the softmax, so the weights no longer sum to 1: scale the scores before it.")
def scaled_after_softmax(q, k, v, mask=None):
    weights = hide(q @ k.mT, mask).softmax(-1)
    return weights / q.shape[-1] ** 0.5 @ v


@mistake("This looks like softmax over the query axis: each query's weights, over all keys, sum to 1 (`dim=-1`).")
def over_the_query_axis(q, k, v, mask=None):
    return hide(scaled(q, k), mask).softmax(-2) @ v


@mistake(
    "This looks like softmax over `dim=1`. In one matrix that is the key axis, but with batch and heads in front it is "
    "another one: count from the end, `dim=-1`."
)
def over_dim_1(q, k, v, mask=None):
    return hide(scaled(q, k), mask).softmax(1) @ v


@mistake(
    "The mask comes after the softmax: hidden keys have already taken their share, and the rest no longer sums to 1. "
    "Set hidden scores to -inf before it."
)
def masked_after_softmax(q, k, v, mask=None):
    weights = scaled(q, k).softmax(-1)
    return (weights if mask is None else weights * mask) @ v


# The same mistake as learners write it in three ways: a row that sees nothing is then NaN, uniform, or nothing.
UPSIDE_DOWN = "The mask is upside down: True means that the query may look, so hide where it is False (`~mask`)."


def upside_down(mask):
    return None if mask is None else ~mask


@mistake(UPSIDE_DOWN)
def mask_upside_down(q, k, v, mask=None):
    return hide(scaled(q, k), upside_down(mask)).softmax(-1) @ v


@mistake(UPSIDE_DOWN)
def mask_upside_down_with_a_finite_score(q, k, v, mask=None):
    return hide(scaled(q, k), upside_down(mask), -1e9).softmax(-1) @ v


@mistake(UPSIDE_DOWN)
def mask_upside_down_without_nan(q, k, v, mask=None):
    return hide(scaled(q, k), upside_down(mask)).softmax(-1).nan_to_num() @ v


@mistake("Right without a mask; but when one is given, nothing changes. Hide the scores where it is False.")
def no_mask(q, k, v, mask=None):
    return scaled(q, k).softmax(-1) @ v


@mistake("Hidden scores are set to 0, but exp(0) = 1 is still a weight: set them to -inf, whose exponential is 0.")
def hidden_scores_are_zero(q, k, v, mask=None):
    return hide(scaled(q, k), mask, 0.0).softmax(-1) @ v


@mistake(
    "A hidden key has a low score, but others may have lower ones, and then it takes their weight. Nothing is lower "
    "than -inf, whose exponential is 0."
)
def hidden_scores_are_somewhat_low(q, k, v, mask=None):
    return hide(scaled(q, k), mask, -20.0).softmax(-1) @ v


@mistake("`k.T` reverses all axes, those of batch and heads too. Exchange the last two only: `k.transpose(-2, -1)`.")
def all_axes_reversed(q, k, v, mask=None):
    reversed_keys = k.permute(*reversed(range(k.dim())))  # k.T, without its warning
    return hide(q @ reversed_keys / q.shape[-1] ** 0.5, mask).softmax(-1) @ v


@mistake(
    "`scores[~mask]` wants a mask of the same shape as the scores, and this one broadcasts. "
    "`scores.masked_fill(~mask, -math.inf)` takes it as it is."
)
def mask_as_an_index(q, k, v, mask=None):
    scores = scaled(q, k)
    if mask is not None:
        scores[~mask] = -math.inf
    return scores.softmax(-1) @ v


@mistake("These are the attention weights, and they are right. One step more: average the values with them.")
def weights_alone(q, k, v, mask=None):
    return hide(scaled(q, k), mask).softmax(-1)


@mistake("The output is right, but the weights come with it: return the output alone.")
def output_and_weights(q, k, v, mask=None):
    weights = hide(scaled(q, k), mask).softmax(-1)
    return weights @ v, weights


@mistake(
    "The scores are divided by the square root of the width of a value. It is the width of a query, `q.shape[-1]`."
)
def divided_by_the_width_of_values(q, k, v, mask=None):
    return hide(q @ k.mT / v.shape[-1] ** 0.5, mask).softmax(-1) @ v


# In one matrix the first axis counts the queries, and the second is the width.
ANOTHER_LENGTH = (
    "The scores are divided by the square root of the length of another axis. The width of a query is that of the last "
    "one, whatever stands in front: `q.shape[-1]`."
)


@mistake(ANOTHER_LENGTH)
def divided_by_the_first_length(q, k, v, mask=None):
    return hide(q @ k.mT / q.shape[0] ** 0.5, mask).softmax(-1) @ v


@mistake(ANOTHER_LENGTH)
def divided_by_the_second_length(q, k, v, mask=None):
    return hide(q @ k.mT / q.shape[1] ** 0.5, mask).softmax(-1) @ v


@mistake("The scores are scaled only where there is a mask: take the scale out of the `if`.")
def scaled_under_a_mask_alone(q, k, v, mask=None):
    return hide(scaled(q, k) if mask is not None else q @ k.mT, mask).softmax(-1) @ v


NO_SOFTMAX = "The softmax is missing: the scores themselves multiply the values here. Turn them into weights first."


@mistake(NO_SOFTMAX)
def no_softmax(q, k, v, mask=None):
    return hide(scaled(q, k), mask) @ v


@mistake(NO_SOFTMAX)
def no_softmax_and_zeros(q, k, v, mask=None):
    return hide(scaled(q, k), mask, 0.0) @ v


@mistake(
    "This looks like softmax over `dim=0`. In one matrix these are the queries, and with batch and heads in front it "
    "is the batch: count from the end, `dim=-1`."
)
def over_dim_0(q, k, v, mask=None):
    return hide(scaled(q, k), mask).softmax(0) @ v


@mistake(
    "The mask is added to the scores. True counts as 1, so hidden keys get a score that is just 1 lower than it would "
    "be: set it to -inf."
)
def mask_added(q, k, v, mask=None):
    scores = scaled(q, k)
    return (scores if mask is None else scores + mask).softmax(-1) @ v


@mistake("Hidden scores are set to +inf, and exp(inf) is infinite. Set them to -inf, whose exponential is 0.")
def hidden_scores_are_infinite(q, k, v, mask=None):
    return hide(scaled(q, k), mask, math.inf).softmax(-1) @ v


@mistake("This averages the keys. They are for being found; what is handed over are the values, `v`.")
def averages_the_keys(q, k, v, mask=None):
    return hide(scaled(q, k), mask).softmax(-1) @ k


@mistake(ANOTHER_LENGTH)
def divided_by_the_number_of_queries(q, k, v, mask=None):
    return hide(q @ k.mT / q.shape[-2] ** 0.5, mask).softmax(-1) @ v


@mistake("The scores are means of products. A dot product is their sum; then divide by the square root of d.")
def mean_of_products(q, k, v, mask=None):
    return hide(scaled(q, k) / q.shape[-1], mask).softmax(-1) @ v


EXERCISE = Exercise(
    id="attention",
    title="Scaled dot-product attention",
    points=4,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Four steps: the dot products of all queries with all keys; the scale; the mask; weights that sum to 1 for "
        "each query, with which the values are averaged. `transpose(-2, -1)` works behind any batch dimensions.",
        "`q @ k.transpose(-2, -1)` has a row of scores for each query. Divide by the root of `q.shape[-1]`. If there "
        "is a mask, `masked_fill(~mask, -math.inf)` returns new scores. Then the softmax along the last axis, which is "
        "that of the keys; and the product of these weights and the values is the average.",
    ),
    reference=attention,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("softmax",),
    avoid=("scaled_dot_product_attention", "MultiheadAttention"),
    see="Chapter 1, Queries, keys and values",
)

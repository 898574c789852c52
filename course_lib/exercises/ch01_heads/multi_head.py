"""Multi-head attention, one head at a time.

Weights have the layout of nn.Linear, (outputs, inputs), and act as x @ w.T.
"""

import math

import torch
import torch.nn.functional as F

from course_lib.exercises.ch01_heads.merge_heads import merge_heads
from course_lib.exercises.ch01_heads.split_heads import split_heads
from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def multi_head(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    head_dim = w_q.shape[0] // n_heads
    heads = []
    for h in range(n_heads):
        rows = slice(h * head_dim, (h + 1) * head_dim)
        query, key, value = x @ w_q[rows].T, x @ w_k[rows].T, x @ w_v[rows].T
        heads.append(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    return torch.cat(heads, dim=-1) @ w_o.T


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, batch, positions, d_model, n_heads, mask=None):
        # Weights of this size make scores of a few units, far from uniform attention, so that a wrong scale shows.
        weights = [normal(d_model, d_model) * (2 / d_model) ** 0.5 for _ in range(4)]
        return Case(name, (normal(batch, positions, d_model), *weights, n_heads, mask))

    def causal(positions):
        return torch.ones(positions, positions, dtype=torch.bool).tril()

    # The first two are hidden from all but themselves, as padding is; the others also look ahead.
    padded = torch.eye(5, dtype=torch.bool)
    padded[:, 2:] = True
    return [
        case("2 heads, every position looks everywhere", 1, 5, 8, 2),
        case("3 heads, a batch of 2, causal mask", 2, 4, 12, 3, causal(4)),
        case("as many positions as heads", 2, 4, 8, 4),
        case("one head is plain attention", 1, 3, 6, 1, causal(3)),
        case("a mask that hides the first two positions, and no later ones", 1, 5, 8, 2, padded),
    ]


@alternative
def as_a_sum_of_heads(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    size = x.shape[-1] // n_heads
    total = 0
    for q, k, v, o in zip(w_q.split(size), w_k.split(size), w_v.split(size), w_o.split(size, dim=1), strict=True):
        scores = (x @ q.T) @ (x @ k.T).transpose(1, 2) / math.sqrt(size)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        total = total + torch.softmax(scores, dim=-1) @ x @ v.T @ o.T
    return total


@alternative
def by_einsum(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = (torch.einsum("btd,hed->bhte", x, w.unflatten(0, (n_heads, -1))) for w in (w_q, w_k, w_v))
    heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return torch.einsum("bhte,dhe->btd", heads, w_o.unflatten(1, (n_heads, -1)))


# All heads at once, from which most of the mistakes below differ in one place.


def queries_keys_values(x, w_q, w_k, w_v, n_heads):
    return [split_heads(x @ w.T, n_heads) for w in (w_q, w_k, w_v)]


def all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask=None, scale=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    return merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)) @ w_o.T


@mistake(
    "This divides by the square root of d_model; inside a head, queries and keys have head_dim = d_model / n_heads "
    "entries, so divide by the square root of head_dim."
)
def scale_of_the_model(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=x.shape[-1] ** -0.5)


@mistake("The scale is missing: divide the scores of each head by the square root of head_dim.")
def no_scale(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=1.0)


@mistake("This divides by head_dim; divide the scores of each head by the square root of head_dim.")
def scale_without_root(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=n_heads / x.shape[-1])


@mistake("This multiplies by the square root of head_dim; divide the scores of each head by it.")
def scale_upside_down(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=(x.shape[-1] / n_heads) ** 0.5)


@mistake("This divides by the square root of n_heads; divide by that of head_dim = d_model / n_heads.")
def scale_of_the_number_of_heads(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=n_heads**-0.5)


@mistake("Queries and keys are exchanged: a row of the scores belongs to one query, `query @ key.mT`.")
def queries_and_keys_exchanged(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_k, w_q, w_v, w_o, n_heads, mask)


@mistake("The softmax is missing: it turns the scores of each query into weights that sum to 1.")
def no_softmax(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    return merge_heads(scores @ value) @ w_o.T


@mistake(
    "A hidden key gets the score 0, and exp(0) = 1 is a weight as good as others. Before the softmax its score has to "
    "be minus infinity."
)
def hidden_scores_are_zero(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores if mask is None else scores.masked_fill(~mask, 0.0)
    return merge_heads(scores.softmax(-1) @ value) @ w_o.T


@mistake(
    "The heads are right, and they are joined feature by feature. Put them side by side, head 0 first: "
    "`torch.cat(heads, dim=-1)`."
)
def joined_feature_by_feature(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return heads.permute(0, 2, 3, 1).flatten(2) @ w_o.T


@mistake("This takes every n_heads-th row of the weights; head h owns the rows h * head_dim to (h + 1) * head_dim.")
def every_nth_row(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    mixed = (w.unflatten(0, (-1, n_heads)).transpose(0, 1).flatten(0, 1) for w in (w_q, w_k, w_v))
    return all_at_once(x, *mixed, w_o, n_heads, mask)


@mistake("This is exactly 1 / n_heads of the right answer: heads are concatenated, not averaged.")
def average(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, mask) / n_heads


@mistake(
    "This is a single head as wide as the model, with one attention pattern for all features; give each head its own "
    "scores and its own softmax."
)
def one_wide_head(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, 1, mask)


@mistake(
    "This is one softmax over the scores of all heads together, so heads compete; each head has its own softmax over "
    "the keys."
)
def one_softmax_for_all_heads(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    of_one_query = scores.transpose(1, 2).flatten(2)  # batch, queries, heads * keys
    weights = of_one_query.softmax(-1).unflatten(2, (n_heads, -1)).transpose(1, 2)
    return merge_heads(weights @ value) @ w_o.T


@mistake("The heads are right, but the last step is missing: mix them with the output weights.")
def no_output_weights(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    return merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


@mistake("The mask is ignored: pass it on to the attention of every head.")
def no_mask(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads)


UPSIDE_DOWN = "The mask is used upside down: True means that the query may look at this key."


@mistake(UPSIDE_DOWN)
def mask_upside_down(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, None if mask is None else ~mask)


# A query that sees nothing: 0 by F.scaled_dot_product_attention, NaN by hand with -inf, a mean with a large number.


@mistake(UPSIDE_DOWN)
def mask_upside_down_by_hand(x, w_q, w_k, w_v, w_o, n_heads, mask=None, hidden=-torch.inf):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores if mask is None else scores.masked_fill(mask, hidden)
    return merge_heads(scores.softmax(-1) @ value) @ w_o.T


@mistake(UPSIDE_DOWN)
def mask_upside_down_with_a_large_number(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return mask_upside_down_by_hand.solution(x, w_q, w_k, w_v, w_o, n_heads, mask, hidden=-1e9)


@mistake("This multiplies by w instead of w.T: the layout is that of nn.Linear, (outputs, inputs).")
def weights_not_transposed(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q.T, w_k.T, w_v.T, w_o.T, n_heads, mask)


@mistake(
    "This takes columns of the weights, `w[:, s]`. In the layout of nn.Linear, (outputs, inputs), a head owns rows: "
    "`w[s]`, and acts as `x @ w[s].T`."
)
def columns_of_the_weights(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q.T, w_k.T, w_v.T, w_o, n_heads, mask)


@mistake("The last step multiplies by w_o instead of w_o.T: the layout is that of nn.Linear, (outputs, inputs).")
def output_weights_not_transposed(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o.T, n_heads, mask)


@mistake(
    "The softmax goes over the queries (`dim=1` of batch, queries, keys). The weights of one query sum to 1: softmax "
    "over the keys, the last axis."
)
def softmax_over_the_queries(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    return merge_heads(scores.softmax(-2) @ value) @ w_o.T


@mistake(
    "This shows each head only its own slice of x. Every head reads the whole of x; what is sliced is the weights "
    "(equivalently, the queries, keys and values)."
)
def slices_of_the_input(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    head_dim = x.shape[-1] // n_heads
    own_slice = torch.block_diag(*[torch.ones(head_dim, head_dim)] * n_heads).to(x)
    return all_at_once(x, w_q * own_slice, w_k * own_slice, w_v * own_slice, w_o, n_heads, mask)


@mistake(
    "Here the heads of one position attend to each other, and no position sees another: bring the heads before the "
    "positions, so that the scores are positions x positions."
)
def attends_across_heads(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = ((x @ w.T).unflatten(-1, (n_heads, -1)) for w in (w_q, w_k, w_v))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).flatten(2) @ w_o.T


@mistake("The heads are right, but joining them reshapes without transposing back, so positions get mixed.")
def merged_without_transpose(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).reshape(x.shape) @ w_o.T


@mistake(
    "Head h begins at row h of the weights here. The heads before it own head_dim rows each: it is `h * head_dim`."
)
def begins_at_its_number(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    head_dim = x.shape[-1] // n_heads
    rows = torch.cat([torch.arange(h, h + head_dim) for h in range(n_heads)])
    return all_at_once(x, w_q[rows], w_k[rows], w_v[rows], w_o, n_heads, mask)


@mistake("This makes heads of size n_heads. There are n_heads heads, each of size d_model // n_heads.")
def sizes_exchanged(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_v, w_o, x.shape[-1] // n_heads, mask)


@mistake("The keys are made with w_q, as the queries are. They have weights of their own, w_k.")
def keys_of_the_queries(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_q, w_v, w_o, n_heads, mask)


@mistake("The values are made with w_k, as the keys are. They have weights of their own, w_v.")
def values_of_the_keys(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_k, w_k, w_o, n_heads, mask)


@mistake("Keys and values are exchanged: scores are of queries and keys, and what is averaged are the values.")
def keys_and_values_exchanged(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_q, w_v, w_k, w_o, n_heads, mask)


@mistake("Queries and values are exchanged: scores are of queries and keys, and what is averaged are the values.")
def queries_and_values_exchanged(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    return all_at_once(x, w_v, w_k, w_q, w_o, n_heads, mask)


@mistake("A causal mask is always used here. The caller says who may look at whom: use `mask`, which may be None.")
def always_causal(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    n = x.shape[-2]
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, torch.ones(n, n, dtype=torch.bool).tril())


@mistake(
    "Every mask is taken for the causal one here, as by `is_causal=mask is not None`. Another mask hides other keys: "
    "hand it on, `attn_mask=mask`."
)
def every_mask_is_causal(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    n = x.shape[-2]
    causal = None if mask is None else torch.ones(n, n, dtype=torch.bool).tril()
    return all_at_once(x, w_q, w_k, w_v, w_o, n_heads, causal)


@mistake(
    "The mask comes after the softmax: hidden keys have already taken their share, and the rest no longer sums to 1. "
    "Set hidden scores to minus infinity before it."
)
def masked_after_softmax(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    query, key, value = queries_keys_values(x, w_q, w_k, w_v, n_heads)
    weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    return merge_heads((weights if mask is None else weights * mask) @ value) @ w_o.T


EXERCISE = Exercise(
    id="multi_head",
    title="Multi-head attention, one head at a time",
    points=3,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Head h owns rows h * head_dim to (h + 1) * head_dim of w_q, w_k and w_v. What is the scale in one head?",
        "Loop over h. With `rows = slice(h * head_dim, (h + 1) * head_dim)` the queries of this head are `x @ "
        "w_q[rows].T`; keys and values likewise. Keep what attention makes of them in a list. After the loop put the "
        "heads side by side, along the last axis, and mix them by w_o in its layout.",
    ),
    reference=multi_head,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    avoid=("multi_head_attention_forward", "nn.MultiheadAttention"),
    see="Chapter 1, One layer, cut into heads",
)

"""Exercises of the lab ch01_attention."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, Mistake, call_and_differentiate, measure


def softmax(x, dim=-1):
    x = x - x.amax(dim=dim, keepdim=True)  # changes nothing, since it cancels; keeps exp from overflowing
    e = x.exp()
    return e / e.sum(dim=dim, keepdim=True)


def _softmax_cases(rng):
    x = torch.randn(3, 5, generator=rng)
    return [
        Case("rows of a 3 x 5 matrix", (x,)),
        Case("columns: dim=0", (x,), {"dim": 0}),
        Case("a batch of matrices, dim=1", (torch.randn(2, 4, 3, generator=rng),), {"dim": 1}),
        # A logarithm of the sum near 1000 is rounded to 3e-5 in float32, and so are weights computed from it.
        Case("large scores (1000): no overflow", (x * 50 + 1000,), rtol=2e-4),
        Case("rows near 0, near 1000, near -1000", (x + torch.tensor([[0.0], [1000.0], [-1000.0]]),), rtol=2e-4),
        Case("one -inf score gets weight 0", (x.index_fill(1, torch.tensor([2]), -math.inf),)),
    ]


def _normalized(e, dim):
    return e / e.sum(dim=dim, keepdim=True)


SOFTMAX_MISTAKES = (
    Mistake(
        lambda x, dim=-1: x.softmax(-2 if dim in (-1, x.dim() - 1) else -1),
        "This looks like softmax over the wrong axis: make the numbers along `dim` sum to 1.",
    ),
    Mistake(
        lambda x, dim=-1: x.flatten().softmax(0).reshape(x.shape),
        "This looks like one softmax over all numbers at once; each slice along `dim` has its own sum.",
    ),
    Mistake(lambda x, dim=-1: x.softmax(-1), "This looks like softmax over the last axis, whatever `dim` says."),
    Mistake(
        lambda x, dim=-1: _normalized(x.exp(), dim),
        "Right idea, but it overflows: exp(1000) is infinite. Subtract the largest score along `dim` first.",
    ),
    Mistake(
        lambda x, dim=-1: _normalized((x - x.max()).exp(), dim),
        "Nearly: it subtracts the largest of all numbers, so a row of small scores becomes 0/0. Subtract the largest "
        "along `dim`, with `keepdim=True`.",
    ),
    Mistake(lambda x, dim=-1: _normalized(x, dim), "This divides by the sum without exponentiating: take exp first."),
    Mistake(
        lambda x, dim=-1: x.log_softmax(dim),
        "This looks like the logarithm of softmax; the weights themselves are wanted.",
    ),
)


def causal_mask(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def _causal_mask_cases(rng):
    n = int(torch.randint(6, 12, (), generator=rng))
    return [Case(f"n = {size}", (size,)) for size in (3, 1, n)]


CAUSAL_MASK_MISTAKES = (
    Mistake(
        lambda n: ~causal_mask(n),
        "This is True where a query may NOT look. Some libraries want that; here True means that it may.",
    ),
    Mistake(
        lambda n: causal_mask(n).tril(-1),
        "This hides every token from itself, which leaves the first one nothing to look at: keep the diagonal.",
    ),
    Mistake(
        lambda n: causal_mask(n).T,
        "This looks transposed: rows are queries and columns are keys, so row t is True in columns 0 to t.",
    ),
    Mistake(
        lambda n: torch.full((n, n), -math.inf).triu(1),
        "This is the additive form, 0 and -inf. It has its uses; here return booleans, True where a query may look.",
    ),
    Mistake(lambda n: causal_mask(n).float(), "Right pattern, but made of floats: pass `dtype=torch.bool`."),
    Mistake(lambda n: causal_mask(n).long(), "Right pattern, but made of integers: pass `dtype=torch.bool`."),
    Mistake(
        lambda n: torch.ones(n, n, dtype=torch.bool).tril(1),
        "This lets every token see the next one, the very answer it should predict: row t ends at column t.",
    ),
    Mistake(lambda n: torch.ones(n, n, dtype=torch.bool), "This lets every token see all others, the future included."),
)


def attention(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)  # exp(-inf) = 0: no weight, and the rest still sums to 1
    return softmax(scores, dim=-1) @ v


def _attention_cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    window = causal & ~causal.tril(-2)  # each query sees itself and the token before
    padding = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]], dtype=torch.bool)[:, None, None, :]
    batch = (2, 3, 5, 16)
    return [
        Case("3 queries, 5 keys, wider values, no mask", (normal(3, 4), normal(5, 4), normal(5, 7))),
        Case("5 tokens under a causal mask", (normal(5, 8), normal(5, 8), normal(5, 8), causal)),
        Case("a batch of 2 with 3 heads, causal", (normal(*batch), normal(*batch), normal(*batch), causal)),
        Case("a batch of 2 with 3 heads, no mask", (normal(2, 3, 4, 8), normal(2, 3, 6, 8), normal(2, 3, 6, 8))),
        Case("padding hidden", (normal(2, 3, 4, 8), normal(2, 3, 6, 8), normal(2, 3, 6, 8), padding)),
        Case("each query sees one neighbour", (normal(5, 3), normal(5, 3), normal(5, 3), window)),
        # Scores near 500 in float32 are rounded to 3e-5, and softmax turns that into a relative error of its size.
        Case("large scores: no overflow", (normal(4, 64) * 8, normal(4, 64) * 8, normal(4, 64)), rtol=1e-3, atol=1e-3),
    ]


def _wrong(scale=lambda q, k: q.shape[-1] ** -0.5, hide=lambda mask: ~mask, hidden=-math.inf, dim=-1, after=None):
    """Attention with one part exchanged: the scale, what is hidden and by which score, the axis, or the last step."""

    def attention(q, k, v, mask=None):
        scores = q @ k.transpose(-2, -1) * scale(q, k)
        if mask is not None and hide is not None:
            scores = scores.masked_fill(hide(mask), hidden)
        weights = scores.softmax(dim)
        return weights @ v if after is None else after(q, v, mask, weights)

    return attention


_UPSIDE_DOWN = "The mask is upside down: True means that the query may look, so hide where it is False (`~mask`)."
ATTENTION_MISTAKES = (
    Mistake(
        _wrong(scale=lambda q, k: 1.0),
        "This looks like attention without the scale: divide the scores by the square root of d, the width of a query.",
    ),
    Mistake(_wrong(scale=lambda q, k: 1 / q.shape[-1]), "The scores are divided by d: divide by its square root."),
    Mistake(_wrong(scale=lambda q, k: q.shape[-1] ** 0.5), "The scores are multiplied by sqrt(d): divide by it."),
    Mistake(
        _wrong(scale=lambda q, k: k.shape[-2] ** -0.5),
        "The scores are divided by the square root of the number of keys. It is the width of a query, `q.shape[-1]`, "
        "that makes dot products grow.",
    ),
    Mistake(
        _wrong(scale=lambda q, k: 1.0, after=lambda q, v, mask, weights: weights / q.shape[-1] ** 0.5 @ v),
        "The scale comes after the softmax, so the weights no longer sum to 1: scale the scores before it.",
    ),
    Mistake(
        _wrong(dim=-2),
        "This looks like softmax over the query axis: each query's weights, over all keys, sum to 1 (`dim=-1`).",
    ),
    Mistake(
        _wrong(dim=1),
        "This looks like softmax over `dim=1`. In one matrix that is the key axis, but with batch and heads in front "
        "it is another one: count from the end, `dim=-1`.",
    ),
    Mistake(
        _wrong(hide=None, after=lambda q, v, mask, weights: (weights if mask is None else weights * mask) @ v),
        "The mask comes after the softmax: hidden keys have already taken their share, and the rest no longer sums "
        "to 1. Set hidden scores to -inf before it.",
    ),
    *(
        Mistake(_wrong(hide=lambda mask: mask, hidden=hidden, after=after), _UPSIDE_DOWN)
        for hidden, after in ((-math.inf, None), (-1e9, None), (-math.inf, lambda q, v, _, w: w.nan_to_num() @ v))
    ),
    Mistake(_wrong(hide=None), "Right without a mask; but when one is given, nothing changes."),
    Mistake(
        _wrong(hidden=0.0),
        "Hidden scores are set to 0, but exp(0) = 1 is still a weight: set them to -inf, whose exponential is 0.",
    ),
    Mistake(
        _wrong(after=lambda q, v, mask, weights: weights),
        "These are the attention weights, and they are right. One step more: average the values with them.",
    ),
    Mistake(
        _wrong(after=lambda q, v, mask, weights: (weights @ v, weights)),
        "The output is right, but the weights come with it: return the output alone.",
    ),
)


def influence(x, mask=None):
    jacobian = torch.autograd.functional.jacobian(lambda x: attention(x, x, x, mask), x)  # n, d, n, d
    return jacobian.norm(dim=(1, 3))  # how strongly output t (a vector) reacts to input s (a vector)


def _influence_cases(rng):
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    return [
        Case("5 tokens of width 3 under a causal mask", (torch.randn(5, 3, generator=rng), causal)),
        Case("4 tokens of width 6, no mask", (torch.randn(4, 6, generator=rng),)),
        Case("each token sees itself and the next two", (torch.randn(5, 4, generator=rng), causal.T.tril(2))),
    ]


_jacobian = torch.autograd.functional.jacobian

INFLUENCE_MISTAKES = (
    Mistake(
        lambda x, mask=None: influence(x, mask).T, "This looks transposed: row t is the output, column s the input."
    ),
    Mistake(lambda x, mask=None: influence(x), "Right without a mask; hand the mask on to `attention`."),
    Mistake(
        lambda x, mask=None: _jacobian(lambda x: attention(x, x, x, mask).sum(-1), x).norm(dim=-1),
        "The components of an output are added up before differentiating, so opposite effects cancel: differentiate "
        "every component, then take the norm over all of them.",
    ),
    Mistake(lambda x, mask=None: influence(x, mask) ** 2, "These are the squared norms: take the square root."),
    Mistake(
        lambda x, mask=None: _jacobian(lambda v: attention(x, x, v, mask), x).norm(dim=(1, 3)),
        "This counts only the way through the values. x is also the queries and the keys: differentiate "
        "`attention(x, x, x, mask)` with respect to all three at once.",
    ),
    Mistake(
        lambda x, mask=None: attention(x, x, torch.eye(len(x), dtype=x.dtype), mask),
        "These are attention weights: how much of each value is taken. But moving an input moves the weights too. "
        "Differentiate the output.",
    ),
)


def logit_variance(d, n_samples=10_000):
    q = torch.randn(n_samples, d)
    k = torch.randn(n_samples, d)
    return (q * k).sum(dim=-1).var().item()  # one dot product a row


def _logit_variance_cases(rng):
    # A sample variance of n dot products of normal vectors has relative standard error sqrt((2 + 6/d) / n), since their
    # fourth moment is 3 d^2 + 6 d. Five standard errors: a right answer fails less than once in a million times.
    n = 10_000
    return [Case(f"d = {d}", (d, n), expected=float(d), rtol=5 * math.sqrt((2 + 6 / d) / n)) for d in (4, 16, 64)]


LOGIT_VARIANCE_MISTAKES = (
    Mistake(lambda d, n_samples=10_000: logit_variance(d, n_samples) ** 0.5, "A standard deviation: square it."),
    Mistake(
        lambda d, n_samples=10_000: torch.randn(n_samples, d).mul(torch.randn(n_samples, d)).var().item(),
        "This stays at 1 whatever d is. Either the products were not added up (a dot product is a sum over d), or the "
        "sum was already divided by the square root of d.",
    ),
    Mistake(
        lambda d, n_samples=10_000: torch.randn(n_samples, d).square().sum(-1).var().item(),
        "This is about 2d: is each vector multiplied by itself? Draw queries and keys separately.",
    ),
    Mistake(
        lambda d, n_samples=10_000: torch.rand(n_samples, d).mul(torch.rand(n_samples, d)).sum(-1).var().item(),
        "These vectors look uniform between 0 and 1 (`torch.rand`); `torch.randn` has mean 0 and variance 1.",
    ),
    Mistake(
        lambda d, n_samples=10_000: torch.randn(n_samples, d).mul(torch.randn(n_samples, d)).mean(-1).var().item(),
        "This averages over the d components: a dot product is their sum.",
    ),
)

EXERCISES = [
    Exercise(
        id="softmax",
        title="Softmax",
        points=2,
        minutes=5,
        difficulty=1,
        hints=(
            "Exponentiate, then divide by the sum along `dim`. What does exp(1000) give?",
            "Subtract `x.amax(dim=dim, keepdim=True)` first; `keepdim=True` keeps the shapes broadcastable.",
        ),
        reference=softmax,
        cases=_softmax_cases,
        mistakes=SOFTMAX_MISTAKES,
        see="Chapter 1, From scores to weights",
        drive=call_and_differentiate,
        avoid=("torch.softmax", "F.softmax", "torch.nn.Softmax", "log_softmax"),
    ),
    Exercise(
        id="causal_mask",
        title="The causal mask",
        points=1,
        minutes=4,
        difficulty=1,
        hints=(
            "Row t belongs to query t, column s to key s. Which s may t look at, itself included?",
            "`torch.ones(n, n, dtype=torch.bool)` is all True; `.tril()` keeps the lower triangle with the diagonal.",
        ),
        reference=causal_mask,
        cases=_causal_mask_cases,
        mistakes=CAUSAL_MASK_MISTAKES,
        see="Chapter 1, No looking ahead",
    ),
    Exercise(
        id="attention",
        title="Scaled dot-product attention",
        points=4,
        minutes=15,
        difficulty=2,
        hints=(
            "Four steps: the dot products of all queries with all keys; the scale; the mask; weights that sum to 1 for "
            "each query, with which the values are averaged. `transpose(-2, -1)` works behind any batch dimensions.",
            "`scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])`; where the mask is False set the scores to "
            "`-math.inf` (`masked_fill`); then `softmax(scores, dim=-1) @ v`.",
        ),
        reference=attention,
        cases=_attention_cases,
        mistakes=ATTENTION_MISTAKES,
        see="Chapter 1, From scores to weights",
        drive=call_and_differentiate,
        needs=("softmax",),
        avoid=("scaled_dot_product_attention", "MultiheadAttention"),
    ),
    Exercise(
        id="influence",
        title="Causality, measured",
        points=3,
        minutes=12,
        difficulty=3,
        hints=(
            "Output t and input s are both vectors, so the derivative of one with respect to the other is a d x d "
            "matrix. `torch.autograd.functional.jacobian(f, x)` gives them all at once: in which shape?",
            "The shape is (n, d, n, d): output token, its component, input token, its component. `.norm(dim=(1, 3))` "
            "takes the norm over both component axes.",
        ),
        reference=influence,
        cases=_influence_cases,
        mistakes=INFLUENCE_MISTAKES,
        see="Chapter 1, No looking ahead",
        needs=("attention",),
    ),
    Exercise(
        id="logit_variance",
        title="How large are dot products?",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "Draw `n_samples` queries and as many keys with `torch.randn`, and pair them row by row.",
            "`(q * k).sum(dim=-1)` holds one dot product a row; `.var().item()` is the number.",
        ),
        reference=logit_variance,
        cases=_logit_variance_cases,
        mistakes=LOGIT_VARIANCE_MISTAKES,
        drive=measure,
        see="Chapter 1, Why divide by the square root of d",
    ),
]

"""Exercises of the lab `ch04_peft`: LoRA by hand, what it costs, what full tuning changes, and a prefix."""

from __future__ import annotations

import torch

from course_lib.exercises.spec import Case, Exercise, Mistake, call_and_differentiate, differentiate_in

SEE = "Chapter 4, With few parameters"


def _normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def _pair(rng, d_out, d_in, rank):
    """weight, a, b of a layer with a LoRA that has been trained."""
    return _normal(rng, d_out, d_in), _normal(rng, rank, d_in), _normal(rng, d_out, rank)


def lora_parameters(shapes, rank):
    return sum(rank * (d_out + d_in) for d_out, d_in in shapes)


def _parameters_cases(rng):
    d = 8 * torch.randint(2, 9, (2,), generator=rng)
    return [
        Case("one square matrix, rank 1", ([[64, 64]], 1)),
        Case("the four matrices of a layer of width 64, rank 8", ([[192, 64], [64, 64], [256, 64], [64, 256]], 8)),
        Case("queries and values of GPT-3, rank 4", ([[12288, 12288]] * 192, 4)),
        Case("two matrices, rank 3", ([d.tolist(), [10, 40]], 3)),
    ]


PARAMETERS_MISTAKES = (
    Mistake(
        lambda shapes, rank: sum(rank * d_out * d_in for d_out, d_in in shapes),
        "This multiplies both sides, as for a full matrix. A is rank x d_in and B is d_out x rank: add their sizes.",
    ),
    Mistake(
        lambda shapes, rank: sum(rank * d_in for _, d_in in shapes),
        "This counts A alone. B, d_out x rank, is trained as well.",
    ),
    Mistake(
        lambda shapes, rank: sum(2 * rank * d_in for _, d_in in shapes),
        "Right for square matrices only. B has d_out rows, and d_out may differ from d_in.",
    ),
    Mistake(
        lambda shapes, rank: sum(d_out * d_in + rank * (d_out + d_in) for d_out, d_in in shapes),
        "This counts the frozen matrices too; only A and B are trained.",
    ),
)


def lora_forward(x, weight, bias, a, b, alpha):
    return x @ weight.T + bias + alpha / a.shape[0] * ((x @ a.T) @ b.T)


def _forward_cases(rng):
    def case(name, shape, d_out, rank, alpha, zero=False):
        weight, a, b = _pair(rng, d_out, shape[-1], rank)
        return Case(name, (_normal(rng, *shape), weight, _normal(rng, d_out), a, b * 0 if zero else b, alpha))

    return [
        case("B is zero: as the frozen layer", (3, 6), 4, 2, 8.0, zero=True),
        case("rank 2, alpha 4", (3, 5), 4, 2, 4.0),
        case("a batch of texts, rank 3, alpha 1", (2, 4, 6), 8, 3, 1.0),
        case("rank 1, alpha 1", (5, 4), 3, 1, 1.0),
    ]


def _forward(scale=lambda a, alpha: alpha / a.shape[0], base=True, bias_too=False):
    def forward(x, weight, bias, a, b, alpha):
        small = scale(a, alpha) * (x @ a.T @ b.T + (bias if bias_too else 0))
        return small + x @ weight.T * base + (0 if bias_too else bias)

    return forward


FORWARD_MISTAKES = (
    Mistake(
        _forward(lambda a, alpha: 1.0),
        "The product of B and A is added as it is. Multiply it by alpha / rank; the rank is the number of rows of A.",
    ),
    Mistake(
        _forward(lambda a, alpha: alpha),
        "This multiplies by alpha, and does not divide by the rank, the number of rows of A.",
    ),
    Mistake(
        _forward(lambda a, alpha: alpha / a.shape[1]),
        "This divides by d_in, the columns of A. The rank is the number of its rows.",
    ),
    Mistake(
        _forward(base=False),
        "The frozen matrix is missing: B A is added to what the layer did before, and does not take its place.",
    ),
    Mistake(
        _forward(bias_too=True),
        "The bias is multiplied by alpha / rank as well. It belongs to the frozen layer: add it as it is.",
    ),
)


def lora_merge(weight, a, b, alpha):
    return weight + alpha / a.shape[0] * (b @ a)


def _merge_cases(rng):
    return [
        Case("rank 1, alpha 1", (*_pair(rng, 3, 3, 1), 1.0)),
        Case("a square matrix, rank 2, alpha 4", (*_pair(rng, 5, 5, 2), 4.0)),
        Case("a square matrix, rank 4, alpha 2", (*_pair(rng, 6, 6, 4), 2.0)),
    ]


def _merge(scale=lambda a, alpha: alpha / a.shape[0], base=1.0, turn=False):
    def merge(weight, a, b, alpha):
        product = scale(a, alpha) * (b @ a)
        return base * weight + (product.T if turn else product)

    return merge


MERGE_MISTAKES = (
    Mistake(
        _merge(lambda a, alpha: 1.0),
        "B A is added without its factor alpha / rank: the merged layer must compute what `lora_forward` does.",
    ),
    Mistake(_merge(lambda a, alpha: alpha), "The factor is alpha / rank; the rank is the number of rows of A."),
    Mistake(_merge(base=0.0), "This is the update alone. Add it to the frozen matrix."),
    Mistake(
        lambda weight, a, b, alpha: weight + alpha / a.shape[0] * (a @ b),
        "`a @ b` has the shape (rank, rank): at rank 1 a single number, added everywhere. The update is `b @ a`.",
    ),
    Mistake(
        _merge(turn=True),
        "The update is transposed. The weight maps by `x @ weight.T`, so its update is B A, of shape d_out x d_in.",
    ),
    Mistake(
        _merge(lambda a, alpha: -alpha / a.shape[0]),
        "This takes the update off, which is what unmerging does; add it.",
    ),
)


def effective_rank(before, after, share=0.9):
    energy = torch.linalg.svdvals(after - before).square()
    reached = energy.cumsum(0) / energy.sum() >= share
    return reached.int().argmax().item() + 1


def _rank_cases(rng):
    def with_values(rows, columns, values):
        u, v = (torch.linalg.qr(_normal(rng, n, len(values))).Q for n in (rows, columns))
        return u * torch.tensor(values) @ v.T

    def case(name, change, share=0.9):
        before = _normal(rng, *change.shape)
        return Case(name, (before, before + change, share))

    return [
        case("one direction changed", with_values(6, 8, [2.0])),
        case("singular values 4, 3, 2, 1", with_values(7, 5, [4.0, 3.0, 2.0, 1.0])),
        case("the same, half of the sum of squares", with_values(7, 5, [4.0, 3.0, 2.0, 1.0]), 0.5),
        case("eight equal singular values", with_values(8, 12, [1.0] * 8), 0.7),
        case("a slow decay", with_values(10, 10, [1 / (i + 1) for i in range(10)]), 0.9),
    ]


def _rank(power=2, change=lambda before, after: after - before, found=lambda reached: reached.int().argmax() + 1):
    def rank(before, after, share=0.9):
        energy = torch.linalg.svdvals(change(before, after)) ** power
        return int(found(energy.cumsum(0) / energy.sum() >= share))

    return rank


RANK_MISTAKES = (
    Mistake(
        _rank(power=1),
        "This sums the singular values. Sum their squares: these add up to the sum of all squared entries.",
    ),
    Mistake(
        _rank(change=lambda before, after: after),
        "This is the rank of the matrix after tuning. What was changed is the difference of both.",
    ),
    Mistake(
        _rank(found=lambda reached: reached.int().argmax()),
        "One too few: the place at which the share is reached counts from 0, the number of singular values from 1.",
    ),
    Mistake(
        _rank(found=lambda reached: reached.sum()),
        "This counts the sums that have reached the share. Count the singular values that it takes to reach it.",
    ),
    Mistake(
        lambda before, after, share=0.9: int(torch.linalg.matrix_rank(after - before)),
        "This is the exact rank, which ignores `share`. Count only as many singular values as reach it.",
    ),
)


def prefix_attention(query, key, value, prefix_key, prefix_value):
    n, tokens = prefix_key.shape[-2], query.shape[-2]
    key = torch.cat((prefix_key, key), dim=-2)
    value = torch.cat((prefix_value, value), dim=-2)
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    seen = torch.ones(tokens, n + tokens, dtype=torch.bool, device=query.device).tril(n)
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ value


def _prefix_cases(rng):
    def case(name, leading, tokens, n, size, loud=1.0):
        parts = [loud * _normal(rng, *leading, length, size) for length in (tokens, tokens, tokens, n, n)]
        return Case(name, tuple(parts))

    return [
        case("4 tokens, a prefix of 2", (), 4, 2, 3),
        case("a prefix of no length", (2,), 3, 0, 4),
        case("2 texts, 2 heads, 5 tokens, a prefix of 3", (2, 2), 5, 3, 4),
        case("one token, a prefix of 4", (1, 2), 1, 4, 6),
        case("large numbers", (2,), 4, 1, 5, loud=30.0),
    ]


def _prefixed(shift=True, causal=True, scale=True, behind=False, late=False):
    def attend(query, key, value, prefix_key, prefix_value):
        n, tokens = prefix_key.shape[-2], query.shape[-2]
        pairs = [(key, prefix_key), (value, prefix_value)] if behind else [(prefix_key, key), (prefix_value, value)]
        key, value = (torch.cat(pair, dim=-2) for pair in pairs)
        scores = query @ key.transpose(-2, -1) / (query.shape[-1] ** 0.5 if scale else 1)
        seen = torch.ones(tokens, n + tokens).tril(n if shift else 0) if causal else torch.ones(tokens, n + tokens)
        if late:
            return scores.softmax(dim=-1) * seen @ value
        return scores.masked_fill(seen == 0, -torch.inf).softmax(dim=-1) @ value

    return attend


def _without_prefix(query, key, value, prefix_key, prefix_value):
    return prefix_attention(query, key, value, prefix_key[..., :0, :], prefix_value[..., :0, :])


PREFIX_MISTAKES = (
    Mistake(
        _prefixed(shift=False),
        "The triangle begins in the wrong column: query t must see all n pairs of the prefix, and the tokens up to t. "
        "Move the diagonal by n.",
    ),
    Mistake(_prefixed(causal=False), "No mask: a query sees later tokens. Only the prefix is there for everybody."),
    Mistake(
        _prefixed(behind=True),
        "The prefix is put behind the tokens, where the causal mask hides nearly all of it. Put it in front.",
    ),
    Mistake(_prefixed(scale=False), "The scores are not divided by the square root of head_dim."),
    Mistake(_without_prefix, "This attends to the tokens alone; the prefix has no effect."),
    Mistake(
        _prefixed(late=True), "The mask comes after the softmax, so the weights no longer sum to 1. Mask the scores."
    ),
    Mistake(
        lambda q, k, v, pk, pv: _without_prefix(q, k, v, pk, pv) + (q @ pk.mT / q.shape[-1] ** 0.5).softmax(-1) @ pv,
        "Two softmaxes give the prefix as much as all of the text. Put the scores side by side, and take one softmax.",
    ),
)


EXERCISES = [
    Exercise(
        id="lora_parameters",
        title="What does a rank cost?",
        points=1,
        minutes=4,
        difficulty=1,
        hints=(
            "A has one row for each rank, and as many columns as the matrix. What shape must B have?",
            "`rank * d_in` for A and `d_out * rank` for B; sum over all matrices.",
        ),
        reference=lora_parameters,
        cases=_parameters_cases,
        mistakes=PARAMETERS_MISTAKES,
        see=SEE,
    ),
    Exercise(
        id="lora_forward",
        title="Beside the frozen matrix",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "First what the frozen layer does: `x @ weight.T + bias`. Then x goes through A and then through B.",
            "`x @ a.T` has `rank` numbers a token, `(x @ a.T) @ b.T` has d_out. The factor is `alpha / a.shape[0]`.",
        ),
        reference=lora_forward,
        cases=_forward_cases,
        drive=differentiate_in(0, 3, 4),  # x, a and b: weight and bias are frozen
        mistakes=FORWARD_MISTAKES,
        see=SEE,
    ),
    Exercise(
        id="lora_merge",
        title="Back into one matrix",
        points=1,
        minutes=5,
        difficulty=1,
        hints=(
            "Which matrix M gives `x @ M.T` for `(x @ a.T) @ b.T`?",
            "`(x @ a.T) @ b.T` is `x @ (b @ a).T`, so the update is `b @ a`, times alpha / rank.",
        ),
        reference=lora_merge,
        cases=_merge_cases,
        mistakes=MERGE_MISTAKES,
        see=SEE,
    ),
    Exercise(
        id="prefix_attention",
        title="Keys and values in front",
        points=3,
        minutes=15,
        difficulty=3,
        hints=(
            "Put the prefix in front of keys and values with `torch.cat(..., dim=-2)`. Then there are more keys than "
            "queries. Which keys may query t see?",
            "`torch.ones(tokens, n + tokens, dtype=torch.bool).tril(n)` is True for the n pairs of the prefix and for "
            "tokens up to t. Fill the rest of the scores with -inf, softmax, times value.",
        ),
        reference=prefix_attention,
        cases=_prefix_cases,
        drive=call_and_differentiate,
        mistakes=PREFIX_MISTAKES,
        see=SEE,
    ),
    Exercise(
        id="effective_rank",
        title="How many directions has a change?",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "`torch.linalg.svdvals(after - before)` gives the singular values, the largest first. Square them, and "
            "look at the running sum.",
            "`reached = energy.cumsum(0) / energy.sum() >= share`; the first True, counted from 1, is the answer.",
        ),
        reference=effective_rank,
        cases=_rank_cases,
        mistakes=RANK_MISTAKES,
        see=SEE,
    ),
]

"""Exercises of the lab `ch04_peft`: LoRA by hand, what it costs, a prefix, an adapter, and what full tuning changes."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn.functional import gelu

from course_lib.exercises.spec import Case, Exercise, call_and_differentiate, call_and_differentiate_only, told

SEE = "Chapter 4, With few parameters"


def _normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def _pair(rng, d_out, d_in, rank):
    """weight, a, b of a layer with a LoRA that has been trained."""
    return _normal(rng, d_out, d_in), _normal(rng, rank, d_in), _normal(rng, d_out, rank)


def lora_parameters(shapes, rank):
    return sum(rank * (d_out + d_in) for d_out, d_in in shapes)


def _parameters_cases(rng):
    return [
        Case("one square matrix, rank 1", ([[64, 64]], 1)),
        Case("the four matrices of a layer of width 64, rank 8", ([[192, 64], [64, 64], [256, 64], [64, 256]], 8)),
        Case("queries and values of GPT-3, rank 4", ([[12288, 12288]] * 192, 4)),
        Case("two matrices, rank 3", ([torch.randint(16, 72, (2,), generator=rng).tolist(), [10, 40]], 3)),
    ]


def _sum(size):
    return lambda shapes, rank: sum(size(*shape, rank) for shape in shapes)


PARAMETERS_MISTAKES = {  # o and i: d_out and d_in
    _sum(lambda o, i, r: r * o * i): "This multiplies the sides. Add the sizes of A, rank x d_in, and B, d_out x rank.",
    _sum(lambda o, i, r: o + i): "The rank is missing: A has `rank` rows, and B has `rank` columns.",
    _sum(lambda o, i, r: r * i): "This counts A alone. B, d_out x rank, is trained as well.",
    _sum(lambda o, i, r: 2 * r * i): "Right for square matrices only. B has d_out rows, which may not be d_in.",
    _sum(lambda o, i, r: o * i + r * (o + i)): "This counts the frozen matrices too; only A and B are trained.",
}


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


def _forward(scale=lambda alpha, a, b: alpha / a.shape[0], base=1.0, outside=1.0, inside=0.0):
    def forward(x, weight, bias, a, b, alpha):
        return scale(alpha, a, b) * (x @ a.T @ b.T + inside * bias) + base * x @ weight.T + outside * bias

    return forward


FORWARD_MISTAKES = {
    _forward(lambda alpha, a, b: 1.0): "B A is added as it is. Multiply it by alpha / rank; the rank is the rows of A.",
    _forward(lambda alpha, a, b: alpha): "This multiplies by alpha, and does not divide by the rank, the rows of A.",
    _forward(lambda alpha, a, b: alpha / a.shape[1]): "This divides by d_in. The rank is the number of rows of A.",
    _forward(lambda alpha, a, b: alpha / b.shape[0]): "This divides by d_out. The rank is the number of rows of A.",
    _forward(outside=0.0): "The bias of the frozen layer is missing.",
    _forward(base=0.0): "The frozen matrix is missing: B A is added to what it does, and does not take its place.",
    _forward(outside=0.0, inside=1.0): "The bias is multiplied by alpha / rank too. It belongs to the frozen layer.",
}


def lora_merge(weight, a, b, alpha):
    return weight + alpha / a.shape[0] * (b @ a)


def _merge_cases(rng):
    return [
        Case("rank 1, alpha 1", (*_pair(rng, 3, 3, 1), 1.0)),
        Case("a square matrix, rank 2, alpha 4", (*_pair(rng, 5, 5, 2), 4.0)),
        Case("a square matrix, rank 4, alpha 2", (*_pair(rng, 6, 6, 4), 2.0)),
    ]


def _merge(scale=lambda a, alpha: alpha / a.shape[0], base=1.0, product=lambda a, b: b @ a):
    return lambda weight, a, b, alpha: base * weight + scale(a, alpha) * product(a, b)


MERGE_MISTAKES = {
    _merge(lambda a, alpha: 1.0): "B A is added without its factor alpha / rank, which `lora_forward` has.",
    _merge(lambda a, alpha: alpha): "The factor is alpha / rank; the rank is the number of rows of A.",
    _merge(lambda a, alpha: alpha / a.shape[1]): "This divides by the width. The rank is the number of rows of A.",
    _merge(lambda a, alpha: -alpha / a.shape[0]): "This takes the update off, which is what unmerging does; add it.",
    _merge(base=0.0): "This is the update alone. Add it to the frozen matrix.",
    _merge(product=lambda a, b: a @ b): "`a @ b` is (rank, rank), at rank 1 a single number. Take `b @ a`.",
    _merge(product=lambda a, b: (b @ a).T): "The update is transposed. As the weight, B A has the shape d_out x d_in.",
}


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


def _rank(change=lambda before, after: after - before, power=2, found=lambda reached: reached.int().argmax() + 1):
    def rank(before, after, share=0.9):
        energy = torch.linalg.svdvals(change(before, after)) ** power
        return int(found(energy.cumsum(0) / energy.sum() >= share))

    return rank


RANK_MISTAKES = {
    _rank(power=1): "This sums the singular values. Sum their squares: these add up to the sum of all squared entries.",
    _rank(lambda before, after: after): "This is the rank of a whole matrix. What changed is the difference of both.",
    _rank(found=lambda reached: reached.int().argmax()): "One too few: places count from 0, singular values from 1.",
    _rank(found=torch.sum): "This counts sums that have reached the share. Count the values that it takes to reach it.",
    lambda b, a, share: int(torch.linalg.matrix_rank(a - b)): "This is the exact rank: `share` has no effect on it.",
}


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


def _prefixed(diagonal=lambda n: n, scale=True, behind=False, late=False):
    def attend(query, key, value, prefix_key, prefix_value):
        n, tokens = prefix_key.shape[-2], query.shape[-2]
        pairs = [(key, prefix_key), (value, prefix_value)] if behind else [(prefix_key, key), (prefix_value, value)]
        key, value = (torch.cat(pair, dim=-2) for pair in pairs)
        scores = query @ key.transpose(-2, -1) / (query.shape[-1] ** 0.5 if scale else 1)
        seen = torch.ones(tokens, n + tokens).tril(diagonal(n))
        if late:
            return scores.softmax(dim=-1) * seen @ value
        return scores.masked_fill(seen == 0, -torch.inf).softmax(dim=-1) @ value

    return attend


def _without_prefix(query, key, value, prefix_key, prefix_value):
    return prefix_attention(query, key, value, prefix_key[..., :0, :], prefix_value[..., :0, :])


def _two_softmaxes(q, k, v, pk, pv):
    return _without_prefix(q, k, v, pk, pv) + (q @ pk.mT / q.shape[-1] ** 0.5).softmax(-1) @ pv


PREFIX_MISTAKES = {
    _prefixed(lambda n: 0): "Query t sees all n pairs of the prefix, and tokens up to t. Move the diagonal by n.",
    _prefixed(lambda n: n + 1): "A query sees one token too many: the next one, which it has to foretell.",
    _prefixed(lambda n: 10**6): "No mask: a query sees later tokens. Only the prefix is there for everybody.",
    _prefixed(behind=True): "The prefix is behind the tokens, so the mask opens the wrong places. Put it in front.",
    _prefixed(scale=False): "The scores are not divided by the square root of head_dim.",
    _without_prefix: "This attends to the tokens alone; the prefix has no effect.",
    _prefixed(late=True): "The mask comes after the softmax, so the weights no longer sum to 1. Mask the scores.",
    _two_softmaxes: "Two softmaxes give the prefix as much as all the text. Put all scores under one softmax.",
}


def adapter_forward(h, down, down_bias, up, up_bias):
    small = torch.nn.functional.gelu(h @ down.T + down_bias)
    return h + small @ up.T + up_bias


def _adapter_cases(rng):
    def case(name, shape, width, zero=False):
        down, up, up_bias = (_normal(rng, *of) for of in ((width, shape[-1]), (shape[-1], width), (shape[-1],)))
        return Case(name, (_normal(rng, *shape), down, _normal(rng, width), up * (not zero), up_bias * (not zero)))

    return [
        case("the way up is zero: h as it was", (3, 6), 2, zero=True),
        case("from 5 numbers to 2 and back", (4, 5), 2),
        case("a batch of texts, from 8 to 3", (2, 4, 8), 3),
        case("a width of 1", (5, 4), 1),
    ]


_tanh_gelu, _linear = partial(gelu, approximate="tanh"), torch.nn.Identity()


def _adapter(act=gelu, around=1.0, down_too=1.0, up_too=1.0, behind=_linear, at_last=_linear):
    def forward(h, down, down_bias, up, up_bias):
        small = act(h @ down.T + down_too * down_bias)
        return at_last(around * h + behind(small @ up.T + up_too * up_bias))

    return forward


ADAPTER_MISTAKES = {
    _adapter(around=0.0): "The way around is missing: what the small network gives is added to h.",
    _adapter(_linear): "There is no gelu in the middle. Without it, both layers are a product of matrices, as in LoRA.",
    _adapter(torch.relu): "This is relu in the middle. The adapter of this lab has gelu there.",
    _adapter(_tanh_gelu): "This is the approximate gelu, by tanh. Take the exact one: `gelu` without `approximate`.",
    _adapter(down_too=0.0): "The bias of the way down is missing. It is added before gelu.",
    _adapter(down_too=0.0, up_too=0.0): "Both biases are missing: one before gelu, one after the way up.",
    _adapter(up_too=0.0): "The bias of the way up is missing.",
    _adapter(_linear, behind=gelu): "gelu comes after the way up. It belongs in the middle, where the numbers are few.",
    _adapter(_linear, at_last=gelu): "gelu is applied to the sum. It belongs in the middle; h itself stays as it is.",
}


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
        mistakes=told(PARAMETERS_MISTAKES),
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
        run_case=call_and_differentiate_only(0, 3, 4),  # x, a and b: weight and bias are frozen
        mistakes=told(FORWARD_MISTAKES),
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
        mistakes=told(MERGE_MISTAKES),
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
        run_case=call_and_differentiate,
        mistakes=told(PREFIX_MISTAKES),
        see=SEE,
    ),
    Exercise(
        id="adapter_forward",
        title="Down, and up again",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "A linear layer with weight W and bias b computes `x @ W.T + b`. There are two of them, and gelu between.",
            "`small = torch.nn.functional.gelu(h @ down.T + down_bias)` has `width` numbers a token. Go up, and add h.",
        ),
        reference=adapter_forward,
        cases=_adapter_cases,
        run_case=call_and_differentiate,
        mistakes=told(ADAPTER_MISTAKES),
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
        mistakes=told(RANK_MISTAKES),
        see=SEE,
    ),
]

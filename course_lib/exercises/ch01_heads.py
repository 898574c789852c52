"""Exercises of the lab ch01_heads. Weights have the layout of nn.Linear, (outputs, inputs), and act as x @ w.T."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.exercises.spec import Case, Exercise, Mistake, call_and_differentiate


def _normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def split_heads(x, n_heads):
    batch, positions, d_model = x.shape
    return x.reshape(batch, positions, n_heads, d_model // n_heads).transpose(1, 2)


class _WrongSplit:
    """Known mistakes: the docstring of each wrong version, here and below, is what its author is told."""

    def without_transpose(x, n_heads):
        """This looks like view or reshape alone, which cuts the numbers in memory order and mixes positions with heads:
        reshape to (batch, positions, n_heads, head_dim) first, then transpose."""
        return x.reshape(x.shape[0], n_heads, x.shape[1], -1)

    def every_nth(x, n_heads):
        """This gives head h the features h, h + n_heads, ...; a head takes neighbours: head 0 the first head_dim
        features, head 1 the next. In the reshape, n_heads comes before head_dim."""
        return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)

    def not_moved(x, n_heads):
        """The numbers are right, the order of the axes is not yet: return (batch, heads, positions, head_dim), so that
        one matrix product serves all heads at once."""
        return x.unflatten(-1, (n_heads, -1))

    def sizes_swapped(x, n_heads):
        """This looks like heads of size n_heads; there are n_heads heads, each of size d_model // n_heads."""
        return x.unflatten(-1, (-1, n_heads)).transpose(1, 2)


def _split_cases(rng):
    return [
        Case("one sequence of 3 positions, 2 heads", (_normal(rng, 1, 3, 4), 2)),
        Case("a batch of 2, 5 positions, 3 heads of size 4", (_normal(rng, 2, 5, 12), 3)),
        Case("as many positions as heads", (_normal(rng, 2, 4, 8), 4)),
        Case("one head", (_normal(rng, 2, 3, 6), 1)),
        Case("heads of size 1", (_normal(rng, 1, 3, 5), 5)),
    ]


def merge_heads(x):
    return x.transpose(1, 2).flatten(2)


class _WrongMerge:
    def without_transpose(x):
        """This reshapes without transposing back, so numbers of different positions land in one row: transpose heads
        and positions first."""
        return x.reshape(x.shape[0], x.shape[2], -1)

    def every_nth(x):
        """This interleaves the heads feature by feature; head 0 fills the first head_dim features, head 1 the next."""
        return x.permute(0, 2, 3, 1).flatten(2)

    def average(x):
        """This averages the heads, which throws away what they disagree about; put them side by side instead."""
        return x.mean(dim=1)


def _merge_cases(rng):
    return [Case(case.name, (split_heads(*case.args),)) for case in _split_cases(rng)]


def multi_head(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
    head_dim = w_q.shape[0] // n_heads
    heads = []
    for h in range(n_heads):
        rows = slice(h * head_dim, (h + 1) * head_dim)
        query, key, value = x @ w_q[rows].T, x @ w_k[rows].T, x @ w_v[rows].T
        heads.append(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    return torch.cat(heads, dim=-1) @ w_o.T


def _multi(x, w_q, w_k, w_v, w_o, n_heads, mask=None, scale=None, split=split_heads, merge=merge_heads):
    query, key, value = (split(x @ w.T, n_heads) for w in (w_q, w_k, w_v))
    return merge(F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)) @ w_o.T


class _WrongMultiHead:
    def scale_of_model(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """This divides by the square root of d_model; inside a head, queries and keys have head_dim = d_model / n_heads
        entries, so divide by the square root of head_dim."""
        return _multi(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=x.shape[-1] ** -0.5)

    def no_scale(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """The scale is missing: divide the scores of each head by the square root of head_dim."""
        return _multi(x, w_q, w_k, w_v, w_o, n_heads, mask, scale=1.0)

    def average(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """This is exactly 1 / n_heads of the right answer: heads are concatenated, not averaged."""
        return _multi(x, w_q, w_k, w_v, w_o, n_heads, mask) / n_heads

    def one_pattern(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """This is a single head as wide as the model, with one attention pattern for everybody; give each head its own
        scores and its own softmax."""
        return _multi(x, w_q, w_k, w_v, w_o, 1, mask)

    def joint_softmax(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """This is one softmax over the scores of all heads together, so heads compete; each head has its own softmax
        over the keys."""
        query, key, value = (split_heads(x @ w.T, n_heads) for w in (w_q, w_k, w_v))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        weights = scores.transpose(1, 2).flatten(2).softmax(-1).unflatten(2, (n_heads, -1)).transpose(1, 2)
        return merge_heads(weights @ value) @ w_o.T

    def no_output(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """The heads are right, but the last step is missing: mix them with the output weights."""
        return _multi(x, w_q, w_k, w_v, torch.eye(x.shape[-1]).to(x), n_heads, mask)

    def no_mask(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """The mask is ignored: pass it on to the attention of every head."""
        return _multi(x, w_q, w_k, w_v, w_o, n_heads)

    def mask_inverted(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """The mask is used upside down: True means that the query may look at this key."""
        return _multi(x, w_q, w_k, w_v, w_o, n_heads, None if mask is None else ~mask)

    def not_transposed(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """This multiplies by w instead of w.T: the layout is that of nn.Linear, (outputs, inputs)."""
        return _multi(x, w_q.T, w_k.T, w_v.T, w_o.T, n_heads, mask)

    def slices_of_input(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """This shows each head only its own slice of x. Every head reads the whole of x; what is sliced is the weights
        (equivalently, the queries, keys and values)."""
        block = torch.eye(n_heads).to(x).repeat_interleave(x.shape[-1] // n_heads, 0)
        block = block.repeat_interleave(x.shape[-1] // n_heads, 1)
        return _multi(x, w_q * block, w_k * block, w_v * block, w_o, n_heads, mask)

    def across_heads(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """Here the heads of one position attend to each other, and no position sees another: bring the heads before the
        positions, so that the scores are positions x positions."""
        split, merge = (lambda x, n: x.unflatten(-1, (n, -1))), (lambda x: x.flatten(2))
        return _multi(x, w_q, w_k, w_v, w_o, n_heads, mask, split=split, merge=merge)

    def merge_mixes(x, w_q, w_k, w_v, w_o, n_heads, mask=None):
        """The heads are right, but joining them reshapes without transposing back, so positions get mixed."""
        return _multi(x, w_q, w_k, w_v, w_o, n_heads, mask, merge=_WrongMerge.without_transpose)


def _multi_cases(rng):
    def case(name, batch, positions, d_model, n_heads, causal=False):
        # Weights of this size make scores of a few units, far from uniform attention, so that a wrong scale shows.
        weights = [_normal(rng, d_model, d_model) * (2 / d_model) ** 0.5 for _ in range(4)]
        mask = torch.ones(positions, positions, dtype=torch.bool).tril() if causal else None
        return Case(name, (_normal(rng, batch, positions, d_model), *weights, n_heads, mask))

    return [
        case("2 heads, every position looks everywhere", 1, 5, 8, 2),
        case("3 heads, a batch of 2, causal mask", 2, 4, 12, 3, causal=True),
        case("as many positions as heads", 2, 4, 8, 4),
        case("one head is plain attention", 1, 3, 6, 1, causal=True),
    ]


def ablate_head(w_o, head, n_heads):
    head_dim = w_o.shape[1] // n_heads
    w_o = w_o.clone()  # the caller keeps the whole model
    w_o[:, head * head_dim : (head + 1) * head_dim] = 0
    return w_o


class _WrongAblation:
    def rows(w_o, head, n_heads):
        """This zeroes rows. Rows of w_o are its outputs, so a part of every head's message is lost; the columns are its
        inputs, and one head fills head_dim of them."""
        return w_o * (torch.arange(w_o.shape[0]) // (w_o.shape[0] // n_heads) != head)[:, None]

    def every_nth(w_o, head, n_heads):
        """This zeroes every n_heads-th column; a head owns head_dim neighbouring columns."""
        return w_o * (torch.arange(w_o.shape[1]) % n_heads != head)

    def keeps_only(w_o, head, n_heads):
        """This is the other way round: it silences every head but this one."""
        return w_o - ablate_head(w_o, head, n_heads)

    def counts_from_one(w_o, head, n_heads):
        """This counts heads from 1; the first head is head 0."""
        return ablate_head(w_o, head - 1, n_heads) if head else w_o.clone()

    def removes(w_o, head, n_heads):
        """This removes the columns, so the matrix no longer fits the model; keep the shape and write zeros."""
        return torch.cat([part for h, part in enumerate(w_o.chunk(n_heads, 1)) if h != head], dim=1)

    def rescales(w_o, head, n_heads):
        """The zeros are in the right place, but the other heads were scaled up; leave them alone."""
        return ablate_head(w_o, head, n_heads) * n_heads / (n_heads - 1)


def _ablate_cases(rng):
    return [
        Case("the first of 2 heads", (_normal(rng, 6, 6), 0, 2)),
        Case("the last of 3 heads", (_normal(rng, 12, 12), 2, 3)),
        Case("a middle one of 4 heads", (_normal(rng, 8, 8), 1, 4)),
        Case("more outputs than inputs", (_normal(rng, 10, 6), 1, 3)),
    ]


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.output = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x, mask=None):
        query, key, value = (split_heads(layer(x), self.n_heads) for layer in (self.query, self.key, self.value))
        return self.output(merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)))


class _LayerWithBias(MultiHeadAttention):
    """The linear layers have biases; make them with bias=False, so that the four matrices are all there is."""

    def __init__(self, d_model, n_heads):
        super().__init__(d_model, n_heads)
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model) for _ in range(4))


def _layer(formula):
    class Layer(MultiHeadAttention):
        __doc__ = formula.__doc__

        def forward(self, x, mask=None):
            weights = (layer.weight for layer in (self.query, self.key, self.value, self.output))
            return formula(x, *weights, self.n_heads, mask)

    Layer.__name__ = f"_Layer_{formula.__name__}"
    return Layer


def _drive_layer(subject, d_model, n_heads, weights, x, mask=None):
    """Make a layer, give it these weights, then compare its output and every gradient."""
    layer = subject.new(d_model, n_heads)
    parameters = {name: list(value.shape) for name, value in sorted(layer.get_state().items())}
    if parameters != {name: list(value.shape) for name, value in sorted(weights.items())}:
        return {"parameters": parameters}  # these weights would not fit
    layer.set_state(weights)
    return {"parameters": parameters, **layer.gradients(x, mask)}


def _layer_cases(rng):
    names = ("query.weight", "key.weight", "value.weight", "output.weight")
    cases = [(case.name, *case.args) for case in _multi_cases(rng)]
    return [Case(name, (x.shape[-1], n, dict(zip(names, w, strict=True)), x, mask)) for name, x, *w, n, mask in cases]


def _told(*wrong):
    return tuple(Mistake(solution, " ".join(solution.__doc__.split())) for solution in wrong)


def _all(namespace):
    return [solution for name, solution in vars(namespace).items() if not name.startswith("__")]


_exercise = partial(Exercise, see="Chapter 1, Several heads", run_case=call_and_differentiate)

EXERCISES = [
    _exercise(
        id="split_heads",
        title="Split the features into heads",
        points=1,
        minutes=5,
        difficulty=1,
        hints=(
            "Two steps: give the last axis two axes (heads, head_dim), then bring the heads before the positions.",
            "`x.reshape(batch, positions, n_heads, d_model // n_heads).transpose(1, 2)`",
        ),
        reference=split_heads,
        cases=_split_cases,
        mistakes=_told(*_all(_WrongSplit)),
    ),
    _exercise(
        id="merge_heads",
        title="Put the heads side by side again",
        points=1,
        minutes=5,
        difficulty=1,
        hints=(
            "Undo split_heads in the opposite order: first the transpose, then the reshape.",
            "`x.transpose(1, 2).flatten(2)`; `view` would complain here: a transposed tensor is not contiguous.",
        ),
        reference=merge_heads,
        cases=_merge_cases,
        mistakes=_told(*_all(_WrongMerge)),
    ),
    _exercise(
        id="multi_head",
        title="Multi-head attention, one head at a time",
        points=3,
        minutes=15,
        difficulty=2,
        hints=(
            "Head h owns rows h * head_dim to (h + 1) * head_dim of w_q, w_k and w_v. What is the scale in one head?",
            "In a loop: `query = x @ w_q[rows].T` and so on, then `F.scaled_dot_product_attention(query, key, value, "
            "attn_mask=mask)`; at the end `torch.cat(heads, dim=-1) @ w_o.T`.",
        ),
        reference=multi_head,
        cases=_multi_cases,
        mistakes=_told(*_all(_WrongMultiHead)),
        avoid=("multi_head_attention_forward", "nn.MultiheadAttention"),
    ),
    _exercise(
        id="ablate_head",
        title="Silence one head",
        points=2,
        minutes=5,
        difficulty=1,
        hints=(
            "After concatenation, head h fills features h * head_dim to (h + 1) * head_dim. What in w_o reads them?",
            "Clone w_o, then set `w_o[:, head * head_dim : (head + 1) * head_dim] = 0`: columns are inputs.",
        ),
        reference=ablate_head,
        cases=_ablate_cases,
        mistakes=_told(*_all(_WrongAblation)),
    ),
    _exercise(
        id="multi_head_attention",
        title="The layer: MultiHeadAttention",
        points=3,
        minutes=15,
        difficulty=2,
        hints=(
            "Four nn.Linear(d_model, d_model, bias=False); in forward: project, split, attend, merge, project.",
            "`query, key, value = (split_heads(f(x), self.n_heads) for f in (self.query, self.key, self.value))`, then "
            "`self.output(merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)))`.",
        ),
        reference=MultiHeadAttention,
        cases=_layer_cases,
        run_case=_drive_layer,
        mistakes=_told(_LayerWithBias, *map(_layer, _all(_WrongMultiHead))),
        needs=("split_heads", "merge_heads"),
        avoid=("multi_head_attention_forward", "nn.MultiheadAttention"),
    ),
]

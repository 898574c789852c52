"""The layer: multi-head attention with weights of its own."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.exercises.ch01_heads.merge_heads import merge_heads
from course_lib.exercises.ch01_heads.multi_head import EXERCISE as MULTI_HEAD
from course_lib.exercises.ch01_heads.split_heads import split_heads
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


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


def cases(rng):
    """The questions of `multi_head`, whose weights are now those of the layer."""
    names = ("query.weight", "key.weight", "value.weight", "output.weight")
    found = []
    for case in MULTI_HEAD.cases(rng):
        x, *weights, n_heads, mask = case.args
        found.append(Case(case.name, (x.shape[-1], n_heads, dict(zip(names, weights, strict=True)), x, mask)))
    # The mask of the lab's training: in each row of the batch other positions are hidden, but none from itself. What
    # one row sees, the other does not. One position is hidden in both: what any row sees is not all that is causal.
    d_model, n_heads, weights, x, _ = found[1].args
    first = torch.rand(1, 1, x.shape[1], generator=rng) > 0.5
    seen = torch.stack([first, ~first])
    seen[..., 1] = False
    mask = (seen | torch.eye(x.shape[1], dtype=torch.bool)).tril()
    return [*found, Case("a mask for each row, (2, 1, 4, 4)", (d_model, n_heads, weights, x, mask))]


def run_case(subject, d_model, n_heads, weights, x, mask=None):
    """Make a layer, give it these weights, then compare its output and every gradient."""
    layer = subject.new(d_model, n_heads)
    layer.set_state(weights)
    return layer.gradients(x, mask)


@alternative
class ByHand(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.size = d_model // n_heads
        for name in ("output", "value", "key", "query"):
            setattr(self, name, nn.Linear(d_model, d_model, bias=False))

    def forward(self, x, mask=None):
        queries = self.query(x).split(self.size, -1)
        keys = self.key(x).split(self.size, -1)
        values = self.value(x).split(self.size, -1)
        mixed = []
        for q, k, v in zip(queries, keys, values, strict=True):
            scores = torch.einsum("bqd,bkd->bqk", q, k) * self.size**-0.5
            if mask is not None:
                one_for_all_heads = mask.flatten(1, 2) if mask.dim() == 4 else mask
                scores = scores.masked_fill(~one_for_all_heads, -math.inf)
            mixed.append(scores.softmax(-1) @ v)
        return self.output(torch.cat(mixed, -1))


@alternative
class WithMinusInfinity(nn.Module):
    """The attention of chapter 1, and other names for what is stored."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.how_many = n_heads
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))

    def forward(self, x, mask=None):
        query, key, value = (f(x).unflatten(-1, (self.how_many, -1)) for f in (self.query, self.key, self.value))
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
        if mask is not None:
            scores = torch.where(mask, scores, -math.inf)
        return self.output(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).flatten(2))


@mistake("The linear layers have biases; make them with bias=False, so that the four matrices are all there is.")
class WithBiases(MultiHeadAttention):
    def __init__(self, d_model, n_heads):
        super().__init__(d_model, n_heads)
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model) for _ in range(4))


@mistake(
    "This handles a mask of (positions, positions) only, as `multi_head` does. The training of the lab gives one for "
    "each row of the batch, (batch, 1, positions, positions): give queries, keys and values an axis for the heads."
)
class CallsMultiHead(MultiHeadAttention):
    def forward(self, x, mask=None):
        weights = (layer.weight for layer in (self.query, self.key, self.value, self.output))
        return MULTI_HEAD.reference(x, *weights, self.n_heads, mask)


@mistake(
    "The heads were not split: this is a single head as wide as the model, with one attention pattern for all "
    "features. Give each head its own scores: `split_heads`."
)
class NotSplit(MultiHeadAttention):
    def forward(self, x, mask=None):
        query, key, value = self.query(x), self.key(x), self.value(x)
        return self.output(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


@mistake(
    "You made numbers of the mask, and numbers are *added* to the scores: 0 hides nothing. True and False choose: hand "
    "the mask on as it is."
)
class MaskOfNumbers(MultiHeadAttention):
    def forward(self, x, mask=None):
        return super().forward(x, mask if mask is None else mask.to(x.dtype))


def one_mask_for_all_rows(name, reduce):
    """The batch has one mask, made of those of its rows."""

    @mistake(
        "All rows of the batch get the same mask. In the training of the lab each row has its own: hand on the whole "
        "mask, whose axis of size 1 serves all heads."
    )
    class Layer(MultiHeadAttention):
        def forward(self, x, mask=None):
            return super().forward(x, mask if mask is None or mask.dim() < 4 else reduce(mask))

    Layer.solution.__name__ = f"mask_of_{name}"
    return Layer


ONE_MASK = (
    one_mask_for_all_rows("the_first_row", lambda mask: mask[0, 0]),
    one_mask_for_all_rows("any_row", lambda mask: mask.any(0)),
    one_mask_for_all_rows("all_rows", lambda mask: mask.all(0)),
)


def in_a_layer(known):
    """A known mistake of `multi_head`, made in the forward pass of a layer."""

    @mistake(known.message)
    class Layer(MultiHeadAttention):
        def forward(self, x, mask=None):
            weights = (layer.weight for layer in (self.query, self.key, self.value, self.output))
            return known.solution(x, *weights, self.n_heads, mask)

    Layer.solution.__name__ = f"layer_{known.solution.__name__}"
    return Layer


EXERCISE = Exercise(
    id="multi_head_attention",
    title="The layer: MultiHeadAttention",
    points=3,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Four nn.Linear(d_model, d_model, bias=False); in forward: project, split, attend, merge, project.",
        "In `forward`, `split_heads(self.query(x), self.n_heads)` has the shape (batch, heads, positions, head_dim), "
        "and so have keys and values. `F.scaled_dot_product_attention` takes them as they are, with either mask. The "
        "last two steps undo the split, and mix the heads.",
    ),
    reference=MultiHeadAttention,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=(*mistakes_in(__name__), *ONE_MASK, *map(in_a_layer, MULTI_HEAD.mistakes)),
    needs=("split_heads", "merge_heads"),
    avoid=("multi_head_attention_forward", "nn.MultiheadAttention"),
    see="Chapter 1, One layer, cut into heads",
)

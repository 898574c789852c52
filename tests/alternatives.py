"""Right answers written another way than the reference: the checks must test the result, not the style.

`ALTERNATIVES[id]` lists at least one for every exercise of the course.
"""

import math

import torch
from torch import nn

ALTERNATIVES: dict[str, list] = {}


def alternative(id):
    """Decorator: a differently written right answer to the exercise `id`."""

    def add(solution):
        ALTERNATIVES.setdefault(id, []).append(solution)
        return solution

    return add


# ch01_attention


@alternative("softmax")
def softmax_by_logarithms(x, dim=-1):
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True))


@alternative("softmax")
def softmax_ready_made(x, dim=-1):
    return nn.functional.softmax(x, dim=dim)


@alternative("causal_mask")
def causal_mask_by_comparison(n):
    position = torch.arange(n)
    return position[:, None] >= position[None, :]


@alternative("causal_mask")
def causal_mask_by_loops(n):
    return torch.tensor([[s <= t for s in range(n)] for t in range(n)])


@alternative("attention")
def attention_by_einsum(q, k, v, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", q * q.size(-1) ** -0.5, k)
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e30, dtype=scores.dtype))
    return torch.einsum("...qk,...kd->...qd", scores.softmax(-1), v)


@alternative("attention")
def attention_ready_made(q, k, v, mask=None):
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@alternative("influence")
def influence_by_rows(x, mask=None):
    x = x.detach().clone().requires_grad_()
    out = attention_by_einsum(x, x, x, mask)
    rows = []
    for t in range(len(x)):
        grads = [torch.autograd.grad(out[t, j], x, retain_graph=True)[0] for j in range(x.shape[1])]
        rows.append(torch.stack(grads).square().sum(dim=(0, 2)).sqrt())
    return torch.stack(rows)


@alternative("logit_variance")
def logit_variance_from_pairs(d, n_samples=10_000):
    pairs = torch.randn(n_samples, 2, d)
    logits = torch.einsum("nd,nd->n", pairs[:, 1], pairs[:, 0])
    return math.fsum((logits - logits.mean()).square().tolist()) / (n_samples - 1)

"""Right answers written another way than the reference: the checks must test the result, not the style.

`ALTERNATIVES[id]` lists at least one for every exercise of the course.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn

ALTERNATIVES: dict[str, list] = {}


def alternative(id):
    """Decorator: a differently written right answer to the exercise `id`."""

    def add(solution):
        ALTERNATIVES.setdefault(id, []).append(solution)
        return solution

    return add


# ch03_pretraining


@alternative("merge_pair")
def merge_pair_by_steps(ids, pair, new):
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


@alternative("merge_pair")
def merge_pair_by_recursion(ids, pair, new):
    left, right = pair
    if len(ids) < 2:
        return list(ids)
    if ids[0] == left and ids[1] == right:
        return [new, *merge_pair_by_recursion(ids[2:], pair, new)]
    return [ids[0], *merge_pair_by_recursion(ids[1:], pair, new)]


@alternative("learn_merges")
def learn_merges_with_tuples(words, n_merges):
    words = [(tuple(ids), times) for ids, times in words]
    merges = []
    while len(merges) < n_merges:
        seen = {}
        for ids, times in words:
            for i in range(len(ids) - 1):
                seen[ids[i : i + 2]] = seen.get(ids[i : i + 2], 0) + times
        most = max(seen.values())
        pair = sorted(pair for pair, times in seen.items() if times == most)[0]
        words = [(tuple(merge_pair_by_steps(ids, pair, 256 + len(merges))), times) for ids, times in words]
        merges.append(pair)
    return merges


@alternative("next_token_loss")
def next_token_loss_ready_made(logits, tokens):
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@alternative("next_token_loss")
def next_token_loss_by_rows(logits, tokens):
    logits = logits - logits.amax(-1, keepdim=True)
    log_p = logits - logits.exp().sum(-1, keepdim=True).log()
    found = [log_p[b, t, tokens[b, t + 1]] for b in range(len(tokens)) for t in range(tokens.shape[1] - 1)]
    return -sum(found) / len(found)


@alternative("next_token_loss")
def next_token_loss_by_log_softmax(logits, tokens):
    log_p = torch.log_softmax(logits, dim=2)[:, :-1].reshape(-1, logits.shape[2])
    return -log_p[torch.arange(len(log_p)), tokens[:, 1:].reshape(-1)].mean()


@alternative("bits_per_byte")
def bits_per_byte_by_logarithms(nats, n_bytes):
    return float(torch.sum(nats * math.log2(math.e)) / torch.sum(n_bytes))


@alternative("bigram_surprise")
def bigram_surprise_by_loops(train, test, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    for a, b in zip(train[:-1].tolist(), train[1:].tolist(), strict=True):
        counts[a, b] += 1
    log_p = counts.log() - counts.sum(1, keepdim=True).log()
    return torch.stack([-log_p[a, b] for a, b in zip(test[:-1].tolist(), test[1:].tolist(), strict=True)])


@alternative("bigram_surprise")
def bigram_surprise_by_numpy(train, test, vocab_size):
    counts = np.ones((vocab_size, vocab_size))
    np.add.at(counts, (train[:-1].numpy(), train[1:].numpy()), 1)
    p = counts / counts.sum(axis=1, keepdims=True)
    return torch.tensor(-np.log(p[test[:-1].numpy(), test[1:].numpy()]), dtype=torch.float32)


# ch04_safety


@alternative("outcome_rates")
def outcome_rates_by_counting(refused, risk):
    harm = sum(risk.tolist())
    well = len(risk) - harm
    pairs = list(zip(refused.tolist(), risk.tolist(), strict=True))
    return [sum(q * r for q, r in pairs) / harm, sum(q * (1 - r) for q, r in pairs) / well]


@alternative("frontier")
def frontier_by_loops(risk):
    x = y = 0.0
    rows = [[x, y]]
    for value in sorted(risk.tolist(), reverse=True):
        x, y = x + 1 - value, y + value
        rows.append([x, y])
    return torch.tensor(rows, dtype=risk.dtype) / torch.tensor([x, y], dtype=risk.dtype)


@alternative("refusal_at")
def refusal_at_by_the_best_of_all_lines(points, limit):
    points = points.tolist()
    best = max(y for x, y in points if x <= limit)
    for x, y in points:
        for x2, y2 in points:
            if x <= limit < x2:
                best = max(best, y + (y2 - y) * (limit - x) / (x2 - x))
    return best


@alternative("mixed_reward")
def mixed_reward_by_cases(right, refused, risk, weight):
    helpful, safe = (1 - risk) * right, risk * refused
    return helpful + weight * (safe - helpful)


@alternative("pareto")
def pareto_by_loops(points):
    rows = points.tolist()
    return torch.tensor([not any(a <= x and b >= y and (a, b) != (x, y) for a, b in rows) for x, y in rows])


# ch04_peft


@alternative("lora_parameters")
def lora_parameters_by_sides(shapes, rank):
    return rank * sum(itertools.chain.from_iterable(shapes))


@alternative("lora_parameters")
def lora_parameters_by_building(shapes, rank):
    a, b = zip(*((torch.empty(rank, d_in), torch.empty(d_out, rank)) for d_out, d_in in shapes), strict=True)
    return sum(matrix.numel() for matrix in a + b)


@alternative("lora_forward")
def lora_forward_merged_first(x, weight, bias, a, b, alpha):
    return nn.functional.linear(x, weight + b @ a * (alpha / len(a)), bias)


@alternative("lora_forward")
def lora_forward_by_einsum(x, weight, bias, a, b, alpha):
    small = torch.einsum("or,ri,...i->...o", b, a, x)
    return torch.einsum("oi,...i->...o", weight, x) + small * alpha / b.shape[1] + bias


@alternative("lora_forward")
def lora_forward_frozen(x, weight, bias, a, b, alpha):
    with torch.no_grad():
        scale = alpha / len(a)
        weight, bias = weight.clone(), bias.clone()
    return nn.functional.linear(x, weight, bias) + scale * nn.functional.linear(nn.functional.linear(x, a), b)


@alternative("lora_merge")
def lora_merge_without_gradients(weight, a, b, alpha):
    with torch.no_grad():
        return torch.addmm(weight, b, a, alpha=alpha / len(a))


@alternative("lora_merge")
def lora_merge_by_outer_products(weight, a, b, alpha):
    return weight + sum(torch.outer(b[:, i], a[i]) for i in range(len(a))) * alpha / len(a)


@alternative("prefix_attention")
def prefix_attention_ready_made(query, key, value, prefix_key, prefix_value):
    n, tokens = prefix_key.shape[-2], query.shape[-2]
    seen = torch.cat((torch.ones(tokens, n, dtype=torch.bool), torch.ones(tokens, tokens).tril().bool()), dim=1)
    keys, values = torch.cat((prefix_key, key), -2), torch.cat((prefix_value, value), -2)
    return nn.functional.scaled_dot_product_attention(query, keys, values, seen)


@alternative("prefix_attention")
def prefix_attention_query_by_query(query, key, value, prefix_key, prefix_value):
    rows = []
    for t in range(query.shape[-2]):
        keys = torch.cat((prefix_key, key[..., : t + 1, :]), dim=-2)
        values = torch.cat((prefix_value, value[..., : t + 1, :]), dim=-2)
        scores = (keys @ query[..., t, :, None]).squeeze(-1) * query.shape[-1] ** -0.5
        rows.append((scores.softmax(-1)[..., None] * values).sum(-2))
    return torch.stack(rows, dim=-2)


@alternative("adapter_forward")
def adapter_forward_by_modules_functions(h, down, down_bias, up, up_bias):
    linear = nn.functional.linear
    return linear(nn.GELU()(linear(h, down, down_bias)), up, up_bias) + h


@alternative("adapter_forward")
def adapter_forward_by_the_normal_distribution(h, down, down_bias, up, up_bias):
    small = torch.einsum("wd,...d->...w", down, h) + down_bias
    small = small * (1 + torch.erf(small / math.sqrt(2))) / 2
    return h + torch.einsum("dw,...w->...d", up, small) + up_bias


@alternative("effective_rank")
def effective_rank_by_eigenvalues(before, after, share=0.9):
    change = (after - before).double()
    energy = torch.linalg.eigvalsh(change @ change.T).flip(0).clamp(min=0).tolist()
    total, reached = sum(energy), 0.0
    for rank, part in enumerate(energy, start=1):
        reached += part
        if reached >= share * total:
            return rank
    return len(energy)

"""Right answers written another way than the reference: the checks must test the result, not the style.

`ALTERNATIVES[id]` lists at least one for every exercise of the course.
"""

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

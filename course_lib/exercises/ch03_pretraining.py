"""Exercises of the lab `ch03_pretraining`."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import torch

from course_lib.exercises.spec import Case, Exercise, call_and_differentiate, told


def merge_pair(ids, pair, new):
    merged = []
    for token in ids:
        merged.append(token)
        if merged[-2:] == list(pair):  # a token that was just made is not one of the pair, so nothing overlaps
            merged[-2:] = [new]
    return merged


def _only_first(ids, pair, new):
    i = next((i for i in range(len(ids) - 1) if ids[i : i + 2] == list(pair)), len(ids))
    return [*ids[:i], *[new][: len(ids) - i], *ids[i + 2 :]]


def _overlapping(ids, pair, new):
    places = [i for i in range(len(ids) - 1) if ids[i : i + 2] == list(pair)]
    kept = [new if i in places else token for i, token in enumerate(ids)]
    return [token for i, token in enumerate(kept) if i in places or i - 1 not in places]


def _as_text(ids, pair, new):
    text, old = (" ".join(map(str, some)) for some in (ids, pair))
    return [int(number) for number in text.replace(old, str(new)).split()]


MERGE_MISTAKES = {
    _only_first: "This replaces the first place only; the pair may stand in several, and all of them change.",
    _overlapping: "In 7 7 7 the middle token is used twice here: the first two become one, the third stays.",
    _as_text: "This compares digits: written as text, the pair 4 6 is found in 14 6 too. Compare the numbers.",
    lambda ids, pair, new: merge_pair(ids[::-1], pair[::-1], new)[::-1]: "This goes from right to left: in 7 7 7 it "
    "merges the last two. Begin at the left, so that the third stays.",
    lambda ids, pair, new: [new if ids[i : i + 2] == list(pair) else token for i, token in enumerate(ids)]: "The new "
    "token is there, but the second one of the pair stayed behind it: two tokens become one.",
    lambda ids, pair, new: (m := merge_pair(ids, pair, new))[: len(m) - (m[-1] != new)]: "The last token gets lost "
    "where it is not part of a pair: the walk ends one too early.",
    lambda ids, pair, new: merge_pair(ids, pair, new) if isinstance(pair, list) else ids: "`pair` may be a tuple, and "
    "no list ever equals one: `[1, 2] == (1, 2)` is False. Compare with list(pair).",
    lambda ids, pair, new: merge_pair(ids, pair, new) if isinstance(pair, tuple) else ids: "`pair` may be a list, and "
    "no tuple ever equals one: `(1, 2) == [1, 2]` is False. Compare with tuple(pair).",
}


def _merge_cases(rng):
    ids = torch.randint(3, (20,), generator=rng).tolist()
    return [
        Case("the pair in two places", ([5, 1, 2, 7, 1, 2, 2, 1], [1, 2], 9)),
        Case("a row of the same token", ([7, 7, 7, 3, 7, 7, 7, 7], [7, 7], 256)),
        Case("the pair at both ends, also reversed", ([4, 6, 1, 6, 14, 6, 4, 6], (4, 6), 300)),
        Case("20 random tokens", (ids, (0, 1), 5)),
    ]


def learn_merges(words, n_merges):
    words, merges = [(list(ids), times) for ids, times in words], []
    for new in range(256, 256 + n_merges):
        counts = Counter()
        for ids, times in words:
            for pair in itertools.pairwise(ids):
                counts[pair] += times
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # of several alike, the smallest
        merges.append(list(best))
        words = [(merge_pair(ids, best, new), times) for ids, times in words]
    return merges


def _learn(weight=lambda times: times, order=lambda n, pair: (-n, pair), apply=True, twice=False, first=256):
    """learn_merges with one part exchanged."""

    def learn(words, n_merges):
        words, merges = [(list(ids), times) for ids, times in words], []
        for new in range(first, first + n_merges):
            counts = Counter()
            for ids, times in words:
                for pair in itertools.pairwise(ids):
                    counts[pair] += weight(times)
            left = [pair for pair in counts if twice or list(pair) not in merges]
            best = min(left, key=lambda pair: order(counts[pair], pair))
            merges.append(list(best))
            words = [(merge_pair(ids, best, new) if apply else ids, times) for ids, times in words]
        return merges

    return learn


LEARN_MISTAKES = {
    _learn(weight=lambda times: 1): "Every word counts once here, but a word that stands in the text a thousand times "
    "should count a thousand times: add `times`, not 1.",
    _learn(order=lambda n, pair: -n): "Nearly: of several pairs that are equally frequent this takes the one that was "
    "seen first; take the smallest, so that the answer does not depend on the order of the words.",
    _learn(order=lambda n, pair: (-n, -pair[0], -pair[1])): "Nearly: of several pairs that are equally frequent this "
    "takes the largest; take the smallest.",
    _learn(apply=False): "The words never change: after each choice, merge the pair in every word, so that the new "
    "token can take part in the next pair.",
    _learn(apply=False, twice=True): "The same pair is chosen again: it was not replaced in the words. Does your "
    "merge_pair compare a list with a tuple, or did you drop its result?",
    **{
        _learn(first=n): f"The first new token is number {n} here. Bytes are 0 to 255, so begin at 256."
        for n in (255, 257)
    },
    lambda words, n: learn_merges([[[i for ids, times in words for i in ids * times], 1]], n): "Here pairs reach "
    "from one word into the next. Count the neighbours inside each word.",
}


def _learn_cases(rng):
    def counted(text):
        return [[list(word.encode()), times] for word, times in Counter(text.split()).items()]

    letters = torch.randint(97, 100, (60,), generator=rng).tolist()
    times = torch.randint(1, 9, (12,), generator=rng).tolist()
    random = [[letters[5 * i : 5 * i + 5], n] for i, n in enumerate(times)]
    return [
        Case("low lower lowest new newest", ([[list(w.encode()), 3] for w in ("low", "lower", "lowest", "new")], 3)),
        Case("rare long words, one frequent short word", (counted("zq " * 9 + "ababab abab abba"), 4)),
        Case("all pairs equally frequent", ([[[100, 99], 2], [[98, 97], 2], [[97, 98], 2]], 3)),
        Case("banana", ([[list(b"banana"), 5], [list(b"bandana"), 2], [list(b"ananas"), 1]], 3)),
        Case("random words", (random, 6)),
    ]


def next_token_loss(logits, tokens):
    predictions, targets = logits[:, :-1], tokens[:, 1:]
    right = predictions.gather(-1, targets[..., None])[..., 0]
    return (predictions.logsumexp(dim=-1) - right).mean()


def _loss(logits, targets):
    return (logits.logsumexp(-1) - logits.gather(-1, targets[..., None])[..., 0]).mean()


def _softmax_first(logits, tokens, shares):
    return -shares(logits)[:, : tokens.shape[1] - 1].gather(-1, tokens[:, 1:, None]).log().mean()


def _overflowing(logits):
    return logits.exp() / logits.exp().sum(-1, keepdim=True)


OVERFLOW = "Right idea, but it overflows: exp(1000) is infinite. Use `logsumexp`, or subtract the largest logit first."
LOSS_MISTAKES = {
    _loss: "Here each place is scored on the token that stands there, which the model has just read. The logits at "
    "place t are about token t + 1: `logits[:, :-1]` belong to `tokens[:, 1:]`.",
    lambda x, t: _loss(x[:, 1:], t[:, :-1]): "The shift goes the wrong way: this scores the logits at place t on token "
    "t - 1, but they are about t + 1.",
    lambda x, t: _loss(x.flatten(0, 1)[:-1], t.flatten()[1:]): "The rows run into each other: the last place of one is "
    "scored on the first token of the next. Shift each row.",
    lambda x, t: _loss(x, t.roll(-1, 1)): "`roll` brings the first token of a row to its end, where nothing is to be "
    "predicted: drop the last place.",
    lambda x, t: next_token_loss(x, t) * t[:, 1:].numel(): "This is the sum over all predictions; the mean is wanted.",
    lambda x, t: next_token_loss(x, t) / math.log(2): "This is in bits: use the natural logarithm, nats come first.",
    lambda x, t: next_token_loss(x, t) * (1 - 1 / t.shape[1]): "Nearly: the first token of a row is never predicted, "
    "so there are fewer predictions than tokens.",
    lambda x, t: _softmax_first(x[:, :-1], t, _overflowing): OVERFLOW,
    lambda x, t: _softmax_first(x, t, _overflowing): OVERFLOW,
    lambda x, t: _softmax_first(x, t, lambda x: x.softmax(-1)): "The probability was rounded to 0 before the "
    "logarithm, which is then infinite: use `logsumexp`.",
    lambda x, t: -next_token_loss(x, t): "The sign is flipped: surprise is *minus* the logarithm of the probability, "
    "and never negative.",
    lambda x, t: -x[:, :-1].softmax(-1).gather(-1, t[:, 1:, None]).mean(): "This is minus the mean probability. Its "
    "logarithm is missing.",
}


def _loss_cases(rng):
    def case(name, batch, length, vocab, shift=0.0, **tolerance):
        logits = torch.randn(batch, length, vocab, generator=rng) * 2 + shift
        return Case(name, (logits, torch.randint(vocab, (batch, length), generator=rng)), **tolerance)

    far = torch.randn(2, 4, 6, generator=rng).index_fill(2, torch.tensor(0), 200.0)  # and 0 is never what comes
    return [
        case("one row of 5 tokens", 1, 5, 7),
        case("a batch of 3", 3, 6, 11),
        case("two tokens, so one prediction", 2, 2, 4),
        # float32 rounds numbers near 1000 to 6e-5, and the loss is a difference of two of them.
        case("logits near 1000: no overflow", 2, 4, 6, shift=1000.0, rtol=2e-4, atol=2e-4),
        Case("one logit far above the right one", (far, torch.randint(1, 6, (2, 4), generator=rng))),
    ]


def bits_per_byte(nats, n_bytes):
    return (nats.sum() / n_bytes.sum() / math.log(2)).item()


RATIOS = "This averages the ratio of each token, so short ones count too much. Divide all surprise by all bytes."
BITS_MISTAKES = {
    lambda nats, n_bytes: (nats.sum() / n_bytes.sum()).item(): "This is in nats per byte: divide by ln 2, since one "
    "bit is 0.69 nats.",
    lambda nats, n_bytes: (nats.sum() / n_bytes.sum() * math.log(2)).item(): "The factor is upside down: one bit is "
    "0.69 nats, so there are more bits than nats. Divide by ln 2.",
    lambda nats, n_bytes: (nats.mean() / math.log(2)).item(): "These are bits per token. A tokenizer with long tokens "
    "would look bad for no reason: divide the sum by the bytes of the text.",
    lambda nats, n_bytes: (nats / n_bytes / math.log(2)).mean().item(): RATIOS,
    lambda nats, n_bytes: (nats / n_bytes.clamp(min=1) / math.log(2)).mean().item(): RATIOS,
    lambda nats, n_bytes: bits_per_byte(nats[n_bytes > 0], n_bytes): "Nearly: tokens that stand for no byte are left "
    "out. Their surprise is paid too, so it belongs in the sum.",
}


def _bits_cases(rng):
    n = torch.randint(1, 8, (50,), generator=rng)
    return [
        Case("3 tokens", (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 2, 4]))),
        Case("an end token of no bytes", (torch.tensor([2.0, 0.5, 4.0]), torch.tensor([3, 0, 1]))),
        Case("50 tokens", (torch.rand(50, generator=rng) * 6, n)),
    ]


def bigram_surprise(train, test, vocab_size):
    pairs = torch.bincount(train[:-1] * vocab_size + train[1:], minlength=vocab_size**2)
    counts = pairs.reshape(vocab_size, vocab_size) + 1.0  # one of each pair for free
    p = counts / counts.sum(dim=1, keepdim=True)
    return -p[test[:-1], test[1:]].log()


def _bigram(free=1.0, axis=1, total=None, seen=lambda counts: counts, ask=lambda p, a, b: p[a, b]):
    """bigram_surprise with one part exchanged."""

    def surprise(train, test, vocab_size):
        counts = torch.bincount(train[:-1] * vocab_size + train[1:], minlength=vocab_size**2).float()
        counts = seen(counts.reshape(vocab_size, vocab_size)) + free
        p = counts / (counts.sum(axis, keepdim=True) if total is None else total(counts, vocab_size))
        return -ask(p, test[:-1], test[1:]).log()

    return surprise


BIGRAM_MISTAKES = {
    _bigram(free=0.0): "A pair that training never saw gets probability 0, and its surprise is infinite (or, where "
    "even the first token is new, not a number): add 1 to the count of every pair.",
    _bigram(axis=0): "This divides by how often the *second* token was seen. The question is what follows the first "
    "one: each row, one row a first token, sums to 1.",
    _bigram(total=lambda counts, vocab_size: counts.sum()): "This is the probability of the pair among all pairs. The "
    "first token is already known: divide by the count of the pairs that begin with it.",
    _bigram(total=lambda counts, vocab_size: counts.sum(1, keepdim=True) - vocab_size): "The free counts are missing "
    "below the line: with 1 more for each of the vocab_size followers, the total grows by vocab_size.",
    _bigram(seen=lambda counts: counts.clamp(max=1)): "A pair that occurs several times is counted once: "
    "`counts[a, b] += 1` with tensors a, b adds once a place. Take `bincount`, or `index_put_` with accumulate=True.",
    _bigram(seen=torch.zeros_like): "Nothing was counted: all tokens come out equally likely. Two elements of a tensor "
    "are never the same key of a dictionary, even if they are equal: count `train.tolist()`.",
    _bigram(seen=lambda counts: counts.T): "Rows and columns are exchanged: this asks what came *before* the first "
    "token, not what follows it.",
    _bigram(ask=lambda p, a, b: p[b, a]): "The table is read the wrong way round: this is how likely the token before "
    "is after the one that came.",
    lambda a, b, n: _bigram(total=lambda *_: torch.bincount(a, minlength=n)[:, None] + n)(a, b, n): "Nearly: this "
    "divides by how often the first token occurs. At the end of `train` it has no follower: take the sum of its row.",
    lambda train, test, vocab_size: bigram_surprise(test, test, vocab_size): "This counts in `test`, so it knows the "
    "answers. Count in `train`.",
}


def _bigram_cases(rng):
    train, test = (torch.randint(4, (n,), generator=rng) for n in (30, 12))
    sticky = torch.tensor([0, 0, 0, 1, 1, 2, 0, 0, 1, 2, 2, 2, 0, 1])
    return [
        Case("abracadabra", (torch.tensor([0, 1, 2, 0, 3, 0, 4, 0, 1, 2, 0]), torch.tensor([0, 1, 2, 0, 3]), 5)),
        Case("3 tokens, uneven", (sticky, torch.tensor([2, 0, 0, 1, 2, 1]), 3)),
        Case("random text, 4 tokens", (train, test, 4)),
        Case("a first token that was never seen", (torch.tensor([0, 1, 0, 2, 1, 0]), torch.tensor([3, 0, 1, 3]), 5)),
    ]


def _about(part, points, minutes, difficulty):
    return {"see": f"Chapter 3, {part}", "points": points, "minutes": minutes, "difficulty": difficulty}


EXERCISES = [
    Exercise(
        id="merge_pair",
        title="Merge one pair",
        **_about("Cutting text into tokens", points=2, minutes=8, difficulty=1),
        hints=(
            "Walk through the list from the left. Where this token and the next are the pair, write `new`, skip both.",
            "`while i < len(ids):` if `ids[i : i + 2] == list(pair)` append `new`, i += 2; otherwise `ids[i]`, i += 1.",
        ),
        reference=merge_pair,
        cases=_merge_cases,
        mistakes=told(MERGE_MISTAKES),
    ),
    Exercise(
        id="learn_merges",
        title="Learn a vocabulary",
        **_about("Cutting text into tokens", points=3, minutes=15, difficulty=2),
        hints=(
            "Repeat: count all pairs of neighbours, each as often as its word occurs; choose one; merge it everywhere.",
            "With `counts` a Counter: `best = min(counts, key=lambda pair: (-counts[pair], pair))`, then "
            "`words = [(merge_pair(ids, best, new), times) for ids, times in words]`.",
        ),
        reference=learn_merges,
        cases=_learn_cases,
        mistakes=told(LEARN_MISTAKES),
        needs=("merge_pair",),
    ),
    Exercise(
        id="next_token_loss",
        title="The loss of pre-training",
        **_about("The text is the teacher", points=3, minutes=12, difficulty=2),
        hints=(
            "Which logits are about which token? Drop the last logits and the first token, and they face each other. "
            "The logarithm of a softmax is the logit minus `logsumexp` of all logits.",
            "`right = logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]`, then the mean of "
            "`logits[:, :-1].logsumexp(-1) - right`.",
        ),
        reference=next_token_loss,
        cases=_loss_cases,
        run_case=call_and_differentiate,
        mistakes=told(LOSS_MISTAKES),
        avoid=("cross_entropy", "nll_loss", "CrossEntropyLoss"),
    ),
    Exercise(
        id="bits_per_byte",
        title="Bits per byte",
        **_about("A unit that everybody can use", points=1, minutes=5, difficulty=1),
        hints=(
            "How many bits is all the surprise together? And how many bytes did it pay for?",
            "`nats.sum() / math.log(2)` bits for `n_bytes.sum()` bytes; `.item()` makes a float.",
        ),
        reference=bits_per_byte,
        cases=_bits_cases,
        mistakes=told(BITS_MISTAKES),
    ),
    Exercise(
        id="bigram_surprise",
        title="A language model made by counting",
        **_about("A unit that everybody can use", points=3, minutes=15, difficulty=2),
        hints=(
            "Make a table, `counts[a, b]`: how often did b come right after a in `train`? Add 1 everywhere. Each row, "
            "divided by its sum, says what follows a.",
            "`torch.bincount(train[:-1] * vocab_size + train[1:], minlength=vocab_size**2)` counts all pairs at once; "
            "reshape it to (vocab_size, vocab_size).",
        ),
        reference=bigram_surprise,
        cases=_bigram_cases,
        mistakes=told(BIGRAM_MISTAKES),
    ),
]

"""Exercises of the lab ch02_families. Masks are True where a query may look; rows are queries, columns are keys."""

import torch

from course_lib.exercises.spec import Case, Exercise, told

SECTION = "Chapter 2, "


def make_mask(kind, n, prefix=0):
    if kind == "encoder":
        return torch.ones(n, n, dtype=torch.bool)
    mask = torch.ones(n, n, dtype=torch.bool).tril()
    if kind == "prefix":
        mask[:, :prefix] = True
    return mask


class _WrongMask:
    """Known mistakes: the docstring of each wrong version, here and below, is what its author is told."""

    def hidden(kind, n, prefix=0):
        """This is True where a query may NOT look; here True means that it may."""
        return ~make_mask(kind, n, prefix)

    def transposed(kind, n, prefix=0):
        """This looks transposed: rows are queries and columns are keys, so row t is True in columns 0 to t."""
        return make_mask(kind, n, prefix).T

    def strict(kind, n, prefix=0):
        """This hides every token of a decoder from itself, which leaves the first one nothing to look at."""
        mask = make_mask(kind, n, prefix)
        return mask if kind == "encoder" else mask & ~torch.eye(n, dtype=torch.bool) | (mask & ~mask.tril())

    def prefix_rows(kind, n, prefix=0):
        """Encoder and decoder are right. With "prefix" this opens rows, so that the first tokens see the future; open
        columns: what everybody may see is the prefix."""
        mask = make_mask("encoder" if kind == "encoder" else "decoder", n)
        if kind == "prefix":
            mask[:prefix] = True
        return mask

    def always_opened(kind, n, prefix=0):
        """`prefix` counts for the kind "prefix" alone; this opens its columns for a decoder, too."""
        return make_mask("encoder" if kind == "encoder" else "prefix", n, prefix)

    def prefix_ignored(kind, n, prefix=0):
        """Encoder and decoder are right; with "prefix" the mask is still plainly causal: open its first columns."""
        return make_mask("encoder" if kind == "encoder" else "decoder", n)


def _mask_cases(rng):
    n = int(torch.randint(7, 11, (), generator=rng))
    prefix = int(torch.randint(2, n - 2, (), generator=rng))
    return [
        Case("an encoder of 4 tokens", ("encoder", 4)),
        Case("a decoder of 4 tokens", ("decoder", 4)),
        Case("6 tokens, of which 3 are the prefix", ("prefix", 6, 3)),
        Case(f"{n} tokens, of which {prefix} are the prefix", ("prefix", n, prefix)),
        Case("an empty prefix is a decoder", ("prefix", 5, 0)),
        Case("a prefix of everything is an encoder", ("prefix", 5, 5)),
        Case("a decoder stays a decoder, whatever `prefix` is", ("decoder", 6, 3)),
        Case("an encoder stays an encoder, whatever `prefix` is", ("encoder", 5, 2)),
        Case("one token", ("decoder", 1)),
    ]


def span_corrupt(ids, missing, sentinels):
    source, target, used = [], [], 0
    for i, token in enumerate(ids):
        if not missing[i]:
            source.append(token)
            continue
        if i == 0 or not missing[i - 1]:  # a span begins
            source.append(sentinels[used])
            target.append(sentinels[used])
            used += 1
        target.append(token)
    return [source, [*target, sentinels[used]]]


class _WrongSpans:
    def one_mark_a_token(ids, missing, sentinels):
        """This puts a sentinel for each missing token. A span gets one, so its length is part of the question."""
        source, target, used = [], [], 0
        for token, gone in zip(ids, missing, strict=True):
            mark = sentinels[used % len(sentinels)]
            source.append(mark if gone else token)
            if gone:
                target += [mark, token]
                used += 1
        return [source, [*target, sentinels[used % len(sentinels)]]]

    def no_end(ids, missing, sentinels):
        """The target lacks its end: one more sentinel, the next unused one, says that nothing more is missing."""
        source, target = span_corrupt(ids, missing, sentinels)
        return [source, target[:-1]]

    def same_mark(ids, missing, sentinels):
        """Every span has the same sentinel, so nobody can tell which span goes where: use them in their order."""
        source, target = span_corrupt(ids, missing, sentinels)
        return [[sentinels[0] if t in sentinels else t for t in part] for part in (source, target)]

    def kept_marked_too(ids, missing, sentinels):
        """This is the other way round: it removes the tokens where `missing` is False."""
        return span_corrupt(ids, [not gone for gone in missing], sentinels)

    def whole_target(ids, missing, sentinels):
        """The target is the whole text. T5 saves just this: it writes the missing spans, after their sentinels."""
        return [span_corrupt(ids, missing, sentinels)[0], list(ids)]

    def exchanged(ids, missing, sentinels):
        """Source and target are exchanged: the source, what the encoder reads, comes first."""
        return span_corrupt(ids, missing, sentinels)[::-1]

    def mark_after(ids, missing, sentinels):
        """In the target each sentinel stands after its span. It comes before: it announces which span is meant."""
        source, target = span_corrupt(ids, missing, sentinels)
        moved, mark = [], []
        for token in target:
            moved, mark = (moved + mark, [token]) if token in sentinels else ([*moved, token], mark)
        return [source, moved + mark]


def _span_cases(rng):
    def case(name, pattern):
        ids = torch.randint(10, 90, (len(pattern),), generator=rng).tolist()
        return Case(name, (ids, [mark == "x" for mark in pattern], list(range(100, 110))))

    random = "".join("x."[i] for i in torch.randint(2, (12,), generator=rng).tolist())
    return [
        case("two spans, of 2 and 1 tokens", "..xx.x..."),
        case("the first and the last token are missing", "x...x"),
        case("nothing is missing", "...."),
        case("everything is missing", "xxx"),
        case("a random choice of 12 tokens", random),
    ]


def gap_ceiling(n_symbols, half, ahead):
    seen = half  # every gap of the second half has its twin on the left
    for i in range(half):
        seen += 2 * half - 1 - 2 * i <= ahead  # how far to the right the twin stands
    return (seen + (2 * half - seen) / n_symbols) / (2 * half)


class _WrongCeiling:
    def no_guess(n_symbols, half, ahead):
        """Where the twin is out of sight one still guesses, and is right one time in n_symbols. This leaves it out."""
        return (half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half))) / (2 * half)

    def causal_only(n_symbols, half, ahead):
        """This is right for ahead = 0 and ignores `ahead`: the gaps nearest the middle have their twins close by."""
        return gap_ceiling(n_symbols, half, 0)

    def one_a_step(n_symbols, half, ahead):
        """The distances between twins are 1, 3, 5, ..., so it takes two steps to the right to open one more gap."""
        seen = half + min(ahead, half)
        return (seen + (2 * half - seen) / n_symbols) / (2 * half)

    def off_by_one(n_symbols, half, ahead):
        """Off by one: with ahead = 1 the gap just before the middle already sees its twin, the token after it."""
        return gap_ceiling(n_symbols, half, max(ahead - 1, 0))

    def second_half_forgotten(n_symbols, half, ahead):
        """Gaps of the second half have their twin on the left, in plain sight: they count whatever `ahead` is."""
        return gap_ceiling(n_symbols, half, ahead) - (1 - 1 / n_symbols) / 2

    def not_a_share(n_symbols, half, ahead):
        """This is how many of the gaps are filled. The share is that number divided by how many gaps there are."""
        return gap_ceiling(n_symbols, half, ahead) * 2 * half


def _ceiling_cases(rng):
    n_symbols, half = (int(torch.randint(5, 12, (), generator=rng)) for _ in range(2))
    ahead = 2 * int(torch.randint(1, half, (), generator=rng))
    return [
        Case("16 symbols, halves of 8, nothing ahead", (16, 8, 0), expected=0.53125),
        Case("4 symbols, halves of 3, one token ahead", (4, 3, 1)),
        Case("4 symbols, halves of 3, two tokens ahead", (4, 3, 2)),
        Case(f"{n_symbols} symbols, halves of {half}, {ahead} tokens ahead", (n_symbols, half, ahead)),
        Case("everything in sight", (16, 8, 15), expected=1.0),
    ]


def log_likelihood(logits, ids):
    surprise = logits.logsumexp(dim=-1) - logits.gather(-1, ids[..., None])[..., 0]
    return -surprise.sum(dim=-1)


def _picked(numbers, ids):
    return numbers.gather(-1, ids[..., None])[..., 0].sum(-1)


LIKELIHOOD_MISTAKES = {
    lambda logits, ids: log_likelihood(logits, ids) / ids.shape[-1]: "This is the mean over the tokens. Probabilities "
    "of one token after the other multiply, so their logarithms add up: take the sum.",
    lambda logits, ids: -log_likelihood(logits, ids): "The sign is flipped: this is the surprise, which is positive. "
    "The logarithm of a probability is at most 0.",
    _picked: "This adds up raw logits. Turn them into log-probabilities first: `logits.log_softmax(dim=-1)`.",
    lambda logits, ids: log_likelihood(logits[:, :-1], ids[:, 1:]): "This shifts once more. The logits at place i "
    "already belong to ids[i]: whoever called you has moved them.",
    lambda logits, ids: _picked(logits.softmax(-1).log(), ids): "The probability was rounded to 0 before the "
    "logarithm, which is then -inf: use `logits.log_softmax(-1)`.",
    lambda logits, ids: _picked(logits.log_softmax(1), ids): "This softmax runs over the tokens of the text. It is the "
    "vocabulary, the last axis, that competes for each place.",
}


def _likelihood_cases(rng):
    def case(name, batch, tokens, vocab, size=2.0):
        logits = torch.randn(batch, tokens, vocab, generator=rng) * size
        return Case(name, (logits, torch.randint(vocab, (batch, tokens), generator=rng)))

    return [
        case("a batch of 2 texts of 4 tokens", 2, 4, 6),
        case("one text of 3 tokens", 1, 3, 5),
        case("3 texts of 7 tokens", 3, 7, 11),
        case("logits of a thousand", 2, 5, 8, size=600.0),
    ]


def tokens_computed(how, prompt, new):
    if how == "decoder, cached":
        return prompt + new - 1  # the last token is written, and nobody has to read it
    if how == "decoder":
        return sum(prompt + k for k in range(new))
    if how == "encoder":
        return new * (prompt + new)
    return prompt + new  # an encoder reads the prompt; a cached decoder reads the start and all but the last token


def _but(**wrong):
    """The right costs, but for these: functions of prompt and new."""
    names = {"decoder, cached": "cached", "encoder-decoder": "both"}
    return lambda how, p, n: wrong.get(names.get(how, how), lambda p, n: tokens_computed(how, p, n))(p, n)


COST_MISTAKES = {
    lambda how, p, n: n: "This counts passes. A pass over 100 tokens costs a hundred times one over a single token.",
    _but(cached=lambda p, n: p + n, decoder=lambda p, n: sum(p + k + 1 for k in range(n))): "One token too many: to "
    "write the last token the model reads everything before it. Nobody has to read the last one itself.",
    _but(cached=lambda p, n: p + n, both=lambda p, n: p + n + 1): "One token too many where there is a cache: nobody "
    "has to read the last one that is written.",
    _but(cached=lambda p, n: n): "With a cache the prompt still has to be read, once.",
    _but(decoder=lambda p, n: n * (p + n)): "A decoder has no blanks in front of it: a pass reads the prompt and what "
    "has been written by then.",
    _but(encoder=lambda p, n: sum(p + k for k in range(n))): "The encoder's input does not grow: the places still to "
    "be written stand in it as blanks from the start, so every pass reads prompt + new tokens.",
    _but(encoder=lambda p, n: p + n): "An encoder keeps nothing: each of its `new` passes reads everything again.",
    _but(both=lambda p, n: n * p + n): "The encoder of an encoder-decoder reads the source once, and what "
    "it found is kept.",
    _but(both=lambda p, n: p + n - 1): "The decoder of an encoder-decoder needs something to read before it writes its "
    "first token, a start token, and that one counts.",
}


def _cost_cases(rng):
    prompt, new = (int(torch.randint(11, 30, (), generator=rng)) for _ in range(2))
    hows = ("decoder", "decoder, cached", "encoder", "encoder-decoder")
    return [
        *(Case(f"{how}: 4 tokens after a prompt of 10", (how, 10, 4)) for how in hows),
        *(Case(f"{how}: {new} tokens after a prompt of {prompt}", (how, prompt, new)) for how in hows),
        Case("decoder: one token after a prompt of 7", ("decoder", 7, 1)),
    ]


EXERCISES = [
    Exercise(
        id="make_mask",
        title="Three masks",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "Encoder: all True. Decoder: the lower triangle. What must change in it so that everybody sees the prefix?",
            '`mask = torch.ones(n, n, dtype=torch.bool)`, then `.tril()` unless kind is "encoder", then '
            '`mask[:, :prefix] = True` if kind is "prefix".',
        ),
        reference=make_mask,
        cases=_mask_cases,
        mistakes=told(_WrongMask),
        see=SECTION + "Who may look at whom",
    ),
    Exercise(
        id="span_corrupt",
        title="Text to text: spans go missing",
        points=3,
        minutes=15,
        difficulty=2,
        hints=(
            "Walk through the text once, and remember how many sentinels you have used. A span begins where a token is "
            "missing and the one before it is not.",
            "Kept: `source.append(token)`. At the beginning of a span: append `sentinels[used]` to both, `used += 1`. "
            "Missing: `target.append(token)`. At the end the target gets `sentinels[used]`.",
        ),
        reference=span_corrupt,
        cases=_span_cases,
        mistakes=told(_WrongSpans),
        see=SECTION + "What each is asked",
    ),
    Exercise(
        id="gap_ceiling",
        title="The exact ceiling",
        points=2,
        minutes=12,
        difficulty=3,
        hints=(
            "Go through the gaps 0 to half - 1. The twin of place i stands at 2 * half - 1 - i: how far to its right?",
            "`seen = half + sum(2 * half - 1 - 2 * i <= ahead for i in range(half))` gaps are certain, the others are "
            "right once in n_symbols; divide by `2 * half`.",
        ),
        reference=gap_ceiling,
        cases=_ceiling_cases,
        mistakes=told(_WrongCeiling),
        see=SECTION + "What the mask forbids",
    ),
    Exercise(
        id="log_likelihood",
        title="How likely is a whole text?",
        points=2,
        minutes=8,
        difficulty=2,
        hints=(
            "Log-probabilities of all tokens first, then pick those of the tokens that are there, then add them up.",
            "`logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0].sum(-1)`",
        ),
        reference=log_likelihood,
        cases=_likelihood_cases,
        mistakes=told(LIKELIHOOD_MISTAKES),
        see=SECTION + "What the mask does not forbid",
    ),
    Exercise(
        id="tokens_computed",
        title="What writing costs",
        points=2,
        minutes=10,
        difficulty=2,
        hints=(
            "Write down what is read before the first new token, before the second, before the last. Nothing is read "
            "after the last.",
            "decoder: `sum(prompt + k for k in range(new))`; cached: `prompt + new - 1`; encoder: `new * (prompt + "
            "new)`; encoder-decoder: `prompt` once, then the start token and all but the last new one.",
        ),
        reference=tokens_computed,
        cases=_cost_cases,
        mistakes=told(COST_MISTAKES),
        see=SECTION + "What writing costs",
    ),
]

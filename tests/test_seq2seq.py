"""Span corruption: nothing is lost, as much goes missing as was asked for, and every arrangement is equally likely."""

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from course_lib.models import T5, T5Config
from course_lib.train import TrainConfig, train
from course_lib.train.seq2seq import seq2seq_loss, span_corruption

texts = st.integers(1, 4), st.integers(2, 80), st.integers(0, 2**31)


def spans_of(inputs, targets, sentinels):
    """The text of one row put together again, and its spans; anything out of order is an error."""
    marks = [token for token in inputs if token in sentinels]
    assert marks == list(sentinels)[: len(marks)]
    assert [token for token in targets if token in sentinels] == list(sentinels)[: len(marks) + 1]
    assert targets[-1] == sentinels[len(marks)]
    spans, text = {}, []
    for token in targets:
        if token in sentinels:
            here = spans[token] = []
        else:
            here.append(token)
    assert spans.pop(targets[-1]) == []
    for before, token in zip([None, *inputs], inputs, strict=False):
        assert not (before in sentinels and token in sentinels)  # two that touch would be one
        text += spans.get(token, [token])
    return text, list(spans.values())


@settings(max_examples=200, deadline=None)
@given(*texts, st.floats(0.01, 0.99), st.floats(1, 10), st.booleans())
def test_text_and_spans(batch, n, seed, rate, mean_length, falling):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(50, (batch, n), generator=generator)
    sentinels = range(150, 50, -1) if falling else range(50, 150)
    missing = min(max(round(rate * n), 1), n - 1)
    assume(round(missing / mean_length) <= n - missing + 1)
    before = ids.clone()
    inputs, targets = span_corruption(ids, generator, sentinels, rate, mean_length)
    assert torch.equal(ids, before)
    assert inputs.dtype == targets.dtype == ids.dtype
    assert len(inputs) == len(targets) == batch
    for row in range(batch):
        text, spans = spans_of(inputs[row].tolist(), targets[row].tolist(), sentinels)
        assert text == ids[row].tolist()
        assert all(spans)
        gone = sum(map(len, spans))
        # Rounded to whole tokens and to whole spans, but at least one of each.
        assert abs(gone - rate * n) <= 0.5 + 1e-9 or gone in (1, n - 1)
        assert abs(len(spans) - gone / mean_length) <= 0.5 + 1e-9 or len(spans) == 1


@pytest.mark.parametrize(
    ("n", "rate", "mean_length", "missing", "spans"),
    [(512, 0.15, 3.0, 77, 26), (100, 0.15, 3.0, 15, 5), (128, 0.5, 3.0, 64, 21), (8, 0.15, 3.0, 1, 1)],
)
def test_how_much_goes_missing(n, rate, mean_length, missing, spans):
    inputs, targets = span_corruption(
        torch.zeros(2, n, dtype=torch.long), torch.Generator(), range(1, 30), rate, mean_length
    )
    assert inputs.shape == (2, n - missing + spans)
    assert targets.shape == (2, missing + spans + 1)


@pytest.mark.parametrize(("n", "missing", "spans"), [(7, 4, 2), (6, 3, 3), (6, 2, 1), (5, 4, 1), (8, 4, 3)])
def test_every_arrangement_is_equally_likely(n, missing, spans):
    """All of them listed: the places where `missing` tokens form exactly `spans` runs."""
    possible = {
        places
        for places in itertools.combinations(range(n), missing)
        if sum(place - 1 not in places for place in places) == spans
    }
    draws = 200 * len(possible)
    ids = torch.arange(n).repeat(draws, 1)
    generator = torch.Generator().manual_seed(0)
    inputs, _ = span_corruption(ids, generator, range(n, n + 9), missing / n, missing / spans)
    seen = Counter(tuple(sorted(set(range(n)) - set(row))) for row in inputs.tolist())
    assert seen.keys() == possible
    assert len({tuple(row) for row in inputs.tolist()}) == len(possible)
    statistic = sum((seen[places] - 200) ** 2 / 200 for places in possible)
    freedom = torch.tensor(len(possible) - 1.0)  # of chi-square, whose tail is the incomplete gamma function
    assert torch.special.gammaincc(freedom / 2, torch.tensor(statistic / 2)) > 1e-4


def test_the_same_seed_gives_the_same_spans():
    ids = torch.arange(60).view(2, 30)
    one, same, other = (
        span_corruption(ids, torch.Generator().manual_seed(seed), range(60, 70))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_example_of_the_paper():
    """Figure 2: "Thank you <X> me to your party <Y> week ." and "<X> for inviting <Y> last <Z>", at some seed."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    ids = torch.arange(len(words))[None]
    names = [*words, "<X>", "<Y>", "<Z>"]
    seen = set()
    for seed in range(300):
        pair = span_corruption(ids, torch.Generator().manual_seed(seed), (11, 12, 13), rate=3 / 11, mean_length=1.5)
        seen.add(tuple(" ".join(names[token] for token in side[0].tolist()) for side in pair))
    assert ("Thank you <X> me to your party <Y> week .", "<X> for inviting <Y> last <Z>") in seen


@pytest.mark.parametrize(
    ("n", "arguments", "sentence"),
    [
        (1, {}, "nothing can go missing from 1 tokens"),
        (0, {}, "nothing can go missing from 0 tokens"),
        (9, {"rate": 0.0}, "at rate=0.0"),
        (9, {"rate": 1.0}, "at rate=1.0"),
        (9, {"mean_length": 0.5}, "of mean_length=0.5"),
        (10, {"rate": 0.8, "mean_length": 1.0}, "8 of 10 tokens cannot go missing in 8 spans without two that touch"),
        (100, {"sentinels": range(200, 205)}, "5 spans and the end take 6 sentinels, but there are 5"),
        (10, {"sentinels": range(5, 20)}, "a text holds a sentinel"),
    ],
)
def test_sentences(n, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        span_corruption(torch.arange(n)[None], torch.Generator(), **{"sentinels": range(200, 220), **arguments})


def test_a_t5_learns_to_fill_gaps():
    """Texts that count upwards: what is missing follows from what is left, and from nothing else."""
    torch.manual_seed(0)
    model = T5(T5Config(22, 32, n_layers=1, n_heads=2))

    def batch(generator):
        start = torch.randint(8, (32, 1), generator=generator)
        return span_corruption(start + torch.arange(12), generator, (20, 21))

    history = train(model, batch, seq2seq_loss, TrainConfig(steps=200, lr=5e-3))
    assert history.loss[0] > 2.5
    # Two of the four targets are sentinels, always the same; two of 19 tokens, unread, would cost ln(19) / 2 = 1.5.
    assert sum(history.loss[-10:]) / 10 < 0.5

"""Mirror strings, repeated blocks and few-shot labels: every level against a list of all cases."""

import itertools
from fractions import Fraction

import pytest
import torch
from guessing import best_guess, drawn_as_listed, near, rng

from course_lib.data.worlds.few_shot import FewShotLabels
from course_lib.data.worlds.induction import RepeatedBlocks
from course_lib.data.worlds.mirror import MirrorLanguage

MANY = 15_000
WORLDS = [MirrorLanguage(), RepeatedBlocks(), FewShotLabels(p_fresh=0.5)]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: type(world).__name__)
def test_the_generator_decides_and_nothing_else(world):
    before = torch.get_rng_state()
    same, again, other = world.sample(6, rng(3)), world.sample(6, rng(3)), world.sample(6, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(same, other, strict=True))
    assert torch.equal(before, torch.get_rng_state())


# Mirror strings


def mirror_cases(symbols, half, second_half_only):
    for string in itertools.product(range(symbols), repeat=half):
        whole = string + string[::-1]
        gaps = range(half if second_half_only else 0, 2 * half)
        for gap in gaps:
            yield Fraction(1, symbols**half * len(gaps)), whole, gap


@pytest.mark.parametrize("second_half_only", [False, True])
@pytest.mark.parametrize(("symbols", "half"), [(1, 1), (2, 1), (3, 2), (4, 3)])
def test_mirror_levels_by_listing_everything(symbols, half, second_half_only):
    world = MirrorLanguage(symbols, half, second_half_only)
    cases = list(mirror_cases(symbols, half, second_half_only))
    assert world.chance == pytest.approx(best_guess((p, gap, s[gap]) for p, s, gap in cases))
    assert world.causal_ceiling == pytest.approx(best_guess((p, s[:gap], s[gap]) for p, s, gap in cases))
    two_sided = ((p, (*s[:gap], "?", *s[gap + 1 :]), s[gap]) for p, s, gap in cases)
    assert best_guess(two_sided) == 1
    batch = world.sample(MANY, rng())
    drawn = list(zip(map(tuple, batch.tokens.tolist()), batch.gap.tolist(), strict=True))
    assert drawn_as_listed(drawn, [(p, (s, gap)) for p, s, gap in cases])


def test_mirror_blanks_the_gap_alone():
    world = MirrorLanguage(n_symbols=5, half=4)
    batch = world.sample(300, rng())
    for whole, gapped, gap, target in zip(*(t.tolist() for t in batch), strict=True):
        assert whole == whole[::-1]
        assert len(whole) == world.length
        assert gapped == [*whole[:gap], world.blank, *whole[gap + 1 :]]
        assert target == whole[gap]
        assert max(gapped) < world.vocab_size


def test_mirror_gaps_stand_where_they_are_asked_for():
    world = MirrorLanguage(n_symbols=5, half=4)
    batch = world.with_gaps(world.sample(8, rng()).tokens, torch.arange(8))
    assert (batch.gapped == world.blank).nonzero().tolist() == [[place, place] for place in range(8)]
    assert torch.equal(batch.target, batch.tokens.diagonal())


@pytest.mark.parametrize(("symbols", "half"), [(0, 2), (2, 0)])
def test_mirror_needs_symbols_and_places(symbols, half):
    with pytest.raises(ValueError, match="=0 must be a whole number, at least 1"):
        MirrorLanguage(symbols, half)


# Repeated blocks


def block_cases(world):
    """Each row's probability, its tokens and its period."""
    periods = range(world.min_period, world.max_period + 1)
    for period in periods:
        blocks = list(itertools.permutations(range(world.n_symbols), period))
        for block in blocks:
            tokens = tuple((block * world.length)[: world.length])
            yield Fraction(1, len(periods) * len(blocks)), tokens, period


@pytest.mark.parametrize(
    "world",
    [RepeatedBlocks(3, 4, 2, 2), RepeatedBlocks(4, 8, 2, 4), RepeatedBlocks(5, 9, 3, 4), RepeatedBlocks(4, 9, 4, 4)],
)
def test_induction_levels_by_listing_everything(world):
    rows = list(block_cases(world))
    known = [(p, s, t, period) for p, s, period in rows for t in range(period + 1, 2 * period)]
    assert world.chance == pytest.approx(best_guess((p, t, s[t]) for p, s, t, _ in known))
    assert best_guess((p, s[:t], s[t]) for p, s, t, _ in known) == 1
    assert world.unordered_ceiling == pytest.approx(best_guess((p, tuple(sorted(s[:t])), s[t]) for p, s, t, _ in known))
    assert world.place_ceiling == pytest.approx(best_guess((p, t, period) for p, _, t, period in known))
    batch = world.sample(MANY, rng())
    drawn = list(zip(map(tuple, batch.tokens.tolist()), batch.period.tolist(), strict=True))
    assert drawn_as_listed(drawn, [(p, (s, period)) for p, s, period in rows])


def test_induction_marks_what_reading_on_from_the_earlier_place_tells():
    batch = RepeatedBlocks().sample(400, rng())
    for tokens, period, known in zip(*(t.tolist() for t in batch), strict=True):
        right = []
        for t in range(1, len(tokens)):
            earlier = [i for i in range(t - 1) if tokens[i] == tokens[t - 1]]
            right.append(bool(earlier) and tokens[earlier[0] + 1] == tokens[t])
        assert right == [t > period for t in range(1, len(tokens))]
        assert known == [period < t < 2 * period for t in range(len(tokens))]
    assert set(batch.period.tolist()) == set(range(12, 29))


def test_one_period_is_a_trap():
    assert RepeatedBlocks(min_period=20, max_period=20).place_ceiling == 1
    assert RepeatedBlocks().place_ceiling < 0.14


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((64, 64, 1, 28), "impossible"), ((64, 64, 9, 8), "impossible"), ((27, 64, 12, 28), "different symbols"),
     ((64, 55, 12, 28), "do not fit")],
)  # fmt: skip
def test_impossible_blocks(sizes, message):
    with pytest.raises(ValueError, match=message):
        RepeatedBlocks(*sizes)


# Few-shot labels


def few_shot_cases(world):
    """Every row of a small world: probability, examples, query, target, whether fresh."""
    n_different = world.n_examples - world.shots + 1
    labelings = list(itertools.product(range(world.n_labels), repeat=n_different))
    for symbols in itertools.permutations(range(world.n_symbols), n_different):
        places = set(itertools.permutations([0] * world.shots + list(range(1, n_different))))
        p = Fraction(1, len(places)) / len(list(itertools.permutations(range(world.n_symbols), n_different)))
        fresh = Fraction(world.p_fresh)
        rows = [(fresh / len(labelings), labels, True) for labels in labelings]
        rows.append((1 - fresh, tuple(world.lasting[list(symbols)].tolist()), False))
        for (share, labels, is_fresh), order in itertools.product(rows, places):
            examples = tuple((symbols[i], labels[i]) for i in order)
            yield p * share, examples, symbols[0], labels[0], is_fresh


@pytest.mark.parametrize("p_fresh", [0.0, 0.25, 1.0])
@pytest.mark.parametrize(("n_examples", "shots", "n_labels"), [(2, 0, 2), (2, 1, 3), (3, 2, 2), (1, 1, 2)])
def test_few_shot_levels_by_listing_everything(n_examples, shots, n_labels, p_fresh):
    world = FewShotLabels(3, 0, n_labels, n_examples, shots, p_fresh)
    cases = list(few_shot_cases(world))
    assert sum(case[0] for case in cases) == 1
    fresh = [(p, query, target) for p, _, query, target, is_fresh in cases if is_fresh and p]
    assert not fresh or world.chance == pytest.approx(best_guess(fresh))
    assert world.weights_ceiling == pytest.approx(best_guess((p, q, y) for p, _, q, y, _ in cases))
    assert world.ceiling == pytest.approx(best_guess((p, (x, q), y) for p, x, q, y, _ in cases))
    batch = world.sample(MANY, rng())
    tokens = world.tokens(batch).tolist()
    assert max(map(max, tokens)) < world.vocab_size
    drawn = []
    for row, target, is_fresh in zip(tokens, batch.target.tolist(), batch.fresh.tolist(), strict=True):
        examples = tuple((s, y - 3) for s, y in zip(row[:-1:2], row[1::2], strict=True))
        drawn.append((examples, row[-1], target, is_fresh))
    assert drawn_as_listed(drawn, [(p, tuple(rest)) for p, *rest in cases if p])


def test_held_out_symbols_never_come_unasked():
    world = FewShotLabels(p_fresh=0.0)
    usual, asked = world.sample(3000, rng()), world.sample(3000, rng(), held_out=True)
    assert usual.symbols.max() < 64
    assert usual.query.max() < 64
    assert torch.equal(usual.labels, world.lasting[usual.symbols])
    assert asked.symbols.min() >= 64
    assert asked.query.min() >= 64
    assert asked.symbols.max() < 80
    assert asked.fresh.all()
    for label in range(8):
        assert near(asked.target == label, world.chance)


def test_lasting_labels_are_balanced_and_the_worlds_own():
    counts = FewShotLabels(n_symbols=50, n_labels=8).lasting.bincount()
    assert counts.max() - counts.min() <= 1
    assert torch.equal(FewShotLabels().lasting, FewShotLabels().lasting)
    assert not torch.equal(FewShotLabels().lasting, FewShotLabels(seed=1).lasting)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"shots": 9}, "cannot hold"), ({"n_symbols": 7}, "need more than 7"), ({"n_held_out": 7}, "need more than 7"),
     ({"n_labels": 0}, "n_labels=0 must be"), ({"p_fresh": 1.5}, "p_fresh=1.5 must be")],
)  # fmt: skip
def test_impossible_few_shot_worlds(changes, message):
    with pytest.raises(ValueError, match=message):
        FewShotLabels(**changes)


def test_nothing_held_out_cannot_be_asked_for():
    with pytest.raises(ValueError, match="n_held_out"):
        FewShotLabels(n_held_out=0).sample(2, rng(), held_out=True)

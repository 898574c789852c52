"""Scenes: answers read off the text by a program of its own, levels from a list of all scenes, pictures by tile."""

import itertools
from fractions import Fraction

import pytest
import torch
from guessing import best_guess, drawn_as_listed, rng

from course_lib.data.worlds.scenes import KINDS, Scenes
from course_lib.data.worlds.words import word_tokenizer

NAMES = ("cat", "dog", "red car", "tree", "o’clock", "sun", "t-shirt", "key", "piano", "bread", "ant", "bee")
CORNERS = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}


def grid_text(world, cells):
    """A scene in words: rows by "/", cells by "|"."""
    names = [world.names[c] if c >= 0 else "" for c in cells]
    rows = [names[i : i + world.columns] for i in range(0, len(names), world.columns)]
    return " / ".join(" | ".join(row) for row in rows)


def solve(scene, question):
    """The answer, from the text of scene and question alone."""
    grid = [[cell.strip() for cell in row.split("|")] for row in scene.split("/")]
    where = {cell: (r, c) for r, row in enumerate(grid) for c, cell in enumerate(row)}
    everything = [cell for row in grid for cell in row if cell]
    question = question.removesuffix("?")
    if question == "what is in the picture":
        return ", ".join(everything)
    if question.startswith("what is at the "):
        place = question.removeprefix("what is at the ")
        if place not in CORNERS:
            _, row, _, column = place.split()
            return grid[int(row) - 1][int(column) - 1]
        r, c = CORNERS[place]
        return grid[r][c]
    if question.startswith("how many times is "):
        return str(everything.count(question.removeprefix("how many times is ").removesuffix(" in the picture")))
    if question.startswith("is "):
        return "yes" if question[3:].removesuffix(" in the picture") in everything else "no"
    for relation, (down, right) in {
        "left of": (0, -1), "right of": (0, 1), "above or below": (None, 0), "above": (-1, 0), "below": (1, 0),
        "beside": (0, None),
    }.items():  # fmt: skip
        if question.startswith(f"what is {relation} "):
            r, c = where[question.removeprefix(f"what is {relation} ")]
            r = 1 - r if down is None else r + down
            c = 1 - c if right is None else c + right
            assert min(r, c) >= 0
            return grid[r][c]
    raise AssertionError(question)


def listed(world, kind):
    """Every scene and question of a kind: probability, scene, question."""
    n, names = world.n_cells, range(len(world.names))
    cells = range(n)
    scenes = list(itertools.permutations(names, n))
    called = world.names

    def each(pairs):
        pairs = list(pairs)
        return [(Fraction(1, len(pairs)), *pair) for pair in pairs]

    if kind == "where":
        return each((s, f"what is at the {world.place(i)}?") for s in scenes for i in cells)
    if kind == "exist":
        cases = []
        for s in scenes:
            absent = [c for c in names if c not in s]
            cases += [(Fraction(1, 2 * n * len(scenes)), s, f"is {called[c]} in the picture?") for c in s]
            cases += [
                (Fraction(1, 2 * len(absent) * len(scenes)), s, f"is {called[c]} in the picture?") for c in absent
            ]
        return cases
    if kind == "count":
        cases = []
        for copies in range(2, n):
            rows = []
            for repeated in names:
                others = itertools.permutations([c for c in names if c != repeated], n - copies)
                for other, places in itertools.product(list(others), itertools.combinations(cells, copies)):
                    rest = iter(other)
                    rows.append((repeated, other, tuple(repeated if i in places else next(rest) for i in cells)))
            for repeated, other, s in rows:
                absent = [c for c in names if c not in s]
                for asked in ([repeated], other, absent):
                    p = Fraction(1, (n - 2) * len(rows) * 3 * len(asked))
                    cases += [(p, s, f"how many times is {called[c]} in the picture?") for c in asked]
        return cases
    if kind == "caption":
        cases = []
        for filled in range(1, n + 1):
            rows = [
                tuple(chosen[places.index(i)] if i in places else -1 for i in cells)
                for chosen in itertools.permutations(names, filled)
                for places in itertools.combinations(cells, filled)
            ]
            cases += [(Fraction(1, n * len(rows)), s, "what is in the picture?") for s in rows]
        return cases
    if kind == "beside":
        return each((s, f"what is {r} {called[c]}?") for s in scenes for r in ("beside", "above or below") for c in s)
    cases = []
    for s in scenes:
        for relation, inside in {
            "left of": lambda r, c: c > 0, "right of": lambda r, c: c < world.columns - 1,
            "above": lambda r, c: r > 0, "below": lambda r, c: r < world.rows - 1,
        }.items():  # fmt: skip
            allowed = [i for i in cells if inside(*divmod(i, world.columns))]
            p = Fraction(1, 4 * len(scenes) * len(allowed))
            cases += [(p, s, f"what is {relation} {called[s[i]]}?") for i in allowed]
    return cases


def masked(question, names):
    """The question without the concept that it names."""
    for name in names:
        question = question.replace(name, "...")
    return question


# The best accuracy in a grid of 2 x 2 without the concept that the question names.
SHORTCUTS = {"count": 1 / 3, "exist": 1 / 2, "beside": 1 / 4, "direction": 1 / 2}
GRIDS = [Scenes(NAMES[:5]), Scenes(NAMES[:6]), Scenes(NAMES[:7], rows=2, columns=3)]


@pytest.mark.parametrize("world", GRIDS[:2], ids=lambda w: f"{len(w.names)}-{w.rows}x{w.columns}")
@pytest.mark.parametrize("kind", KINDS)
def test_levels_by_listing_everything(world, kind):
    cases = [(p, s, q, solve(grid_text(world, s), q)) for p, s, q in listed(world, kind)]
    assert sum(case[0] for case in cases) == 1
    assert world.chance(kind) == pytest.approx(best_guess((p, q, a) for p, _, q, a in cases))
    without_the_concept = best_guess((p, (s, masked(q, world.names)), a) for p, s, q, a in cases)
    if kind in SHORTCUTS:
        assert without_the_concept == pytest.approx(SHORTCUTS[kind])
    assert best_guess((p, (s, q), a) for p, s, q, a in cases) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_what_was_listed(kind):
    world = GRIDS[0]
    batch = world.sample(60_000, rng(), [kind])
    drawn = list(zip(map(tuple, batch.cells.tolist()), world.questions(batch), strict=True))
    assert drawn_as_listed(drawn, [(p, (s, q)) for p, s, q in listed(world, kind)])


def test_the_shortcut_leads_less_far_in_a_wider_grid():
    world = GRIDS[2]
    cases = [(p, s, q, solve(grid_text(world, s), q)) for p, s, q in listed(world, "direction")]
    shortcut = best_guess((p, (s, masked(q, world.names)), a) for p, s, q, a in cases)
    assert shortcut == pytest.approx((1 / 4 + 1 / 3) / 2)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_answers_recomputed_from_the_text(rows, columns):
    world = Scenes(NAMES, rows, columns)
    batch = world.sample(1500, rng())
    assert {KINDS[k] for k in batch.kind.tolist()} == set(world.kinds)
    for cells, question, answer in zip(batch.cells.tolist(), world.questions(batch), world.answers(batch), strict=True):
        assert solve(grid_text(world, cells), question) == answer


def test_a_kind_that_was_forgotten_is_refused(monkeypatch):
    world = GRIDS[0]
    batch = world.sample(1, rng())._replace(kind=torch.tensor([0]))
    monkeypatch.setattr("course_lib.data.worlds.scenes.KINDS", ("why", *KINDS[1:]))
    for words in (world.questions, world.answers):
        with pytest.raises(ValueError, match=f'kind="why" is not supported; use one of {", ".join(KINDS[1:])}'):
            words(batch)
    with pytest.raises(KeyError, match="why"):
        world.chance("why")


def test_kinds_are_drawn_as_asked():
    world = GRIDS[0]
    assert set(world.sample(50, rng(), ["count"]).kind.tolist()) == {KINDS.index("count")}
    kinds = world.sample(30_000, rng(), ["where", "where", "exist"]).kind.tolist()
    assert drawn_as_listed(kinds, [(2 / 3, KINDS.index("where")), (1 / 3, KINDS.index("exist"))])


def test_every_word_is_in_the_vocabulary():
    world = Scenes(NAMES)
    batch = world.sample(3000, rng())
    tokenizer = word_tokenizer(world.vocabulary)
    texts = [f"{q} {a}" for q, a in zip(world.questions(batch), world.answers(batch), strict=True)]
    rows = tokenizer.encode_batch(texts)
    used = {token for row in rows for token in row.tokens}
    assert used == set(world.vocabulary) | {"<pad>"}
    squeezed = ["".join(token for token in row.tokens if token != "<pad>") for row in rows]
    assert squeezed == [text.replace(" ", "") for text in texts]
    with pytest.raises(Exception, match="UNK"):
        tokenizer.encode("zebra")


@pytest.mark.parametrize("world", GRIDS[1:], ids=lambda w: f"{w.rows}x{w.columns}")
def test_pictures_tile_by_tile(world):
    size = 4
    tiles = torch.randint(256, (3, len(world.names), 3, size, size), dtype=torch.uint8, generator=rng())
    before = tiles.clone()
    batch = world.sample(40, rng(), ["caption", "count"])
    vendors = torch.randint(3, batch.cells.shape, generator=rng())
    images = world.images(batch.cells, vendors, tiles, background=77)
    assert images.shape == (40, 3, size * world.rows, size * world.columns)
    for image, cells, artists in zip(images, batch.cells.tolist(), vendors.tolist(), strict=True):
        for i, (concept, vendor) in enumerate(zip(cells, artists, strict=True)):
            top, left = (size * step for step in divmod(i, world.columns))
            tile = image[:, top : top + size, left : left + size]
            assert torch.equal(tile, tiles[vendor, concept]) if concept >= 0 else (tile == 77).all()
    assert torch.equal(tiles, before)
    with pytest.raises(ValueError, match="names but"):
        world.images(batch.cells, vendors, tiles[:, 1:])


def test_the_generator_decides_and_nothing_else():
    world, before = Scenes(NAMES), torch.get_rng_state()
    same, again, other = world.sample(20, rng(3)), world.sample(20, rng(3)), world.sample(20, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(same, again, strict=True))
    assert not torch.equal(same.cells, other.cells)
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_scenes():
    with pytest.raises(ValueError, match="rows=1 must be a whole number, at least 2"):
        Scenes(NAMES, rows=1)
    with pytest.raises(ValueError, match="same name"):
        Scenes((*NAMES, "cat"))
    with pytest.raises(ValueError, match="more than 4"):
        Scenes(NAMES[:4])
    with pytest.raises(ValueError, match="not 'beside'"):
        Scenes(NAMES, rows=3).sample(2, rng(), ["beside"])
    with pytest.raises(ValueError, match="not 'colour'"):
        Scenes(NAMES).chance("colour")

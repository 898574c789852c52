"""Coloured shapes: what is held out, what captions and answers say, and that pictures show it."""

import pytest
import torch

from course_lib.data.worlds.shapes import COLOURS, KINDS, NOTHING, SHAPES, ColouredShapes, ShapeScenes

world = ColouredShapes()


def test_every_colour_and_shape_is_learned_though_some_pairs_are_not():
    assert sorted([*world.new.tolist(), *world.learned.tolist()]) == list(range(48))
    for part in (world.learned // len(SHAPES), world.learned % len(SHAPES)):
        assert torch.bincount(part).min() >= 4
    assert torch.bincount(world.new // len(SHAPES)).tolist() == [2] * len(COLOURS)


def test_captions_name_both_sides_in_either_order():
    scenes = ShapeScenes(torch.tensor([0, 0, NOTHING]), torch.tensor([17, 17, 17]))
    told = world.captions(scenes, torch.tensor([False, True, False]))
    assert told == ["red circle left of blue square", "blue square right of red circle", "blue square"]
    assert world.captions(scenes.exchanged())[0] == "blue square left of red circle"
    assert world.captions(ShapeScenes(scenes.left[:2], scenes.right[:2]).colours_exchanged())[0] == (
        "blue circle left of red square"
    )


def test_things_are_drawn_on_their_side_whole_and_in_their_colour():
    generator = torch.Generator().manual_seed(0)
    everything = torch.arange(48)
    nothing = torch.full_like(everything, NOTHING)
    for side, scenes in enumerate((ShapeScenes(everything, nothing), ShapeScenes(nothing, everything))):
        for picture, which in zip(world.draw(scenes, generator), everything.tolist(), strict=True):
            ink = picture.amin(dim=0) < 1
            columns = ink.any(dim=0).nonzero()
            assert ((columns >= 12) == bool(side)).all()
            assert 12 <= ink.sum() <= 90
            colour = torch.tensor(list(COLOURS.values()))[which // len(SHAPES)]
            seen = picture[:, ink].mean(dim=1)
            assert torch.cosine_similarity(seen, colour, dim=0) > 0.999
    assert (world.draw(ShapeScenes(nothing, nothing), generator) == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_is_more_frequent_than_chance_says(kind):
    generator = torch.Generator().manual_seed(1)
    scenes = world.sample(6000, generator, world.learned)
    assert (scenes.left != scenes.right).all()
    asked = world.ask(scenes, torch.full((6000,), KINDS.index(kind)), generator)
    best = {}
    for question, answer in asked:
        counts = best.setdefault(question, {})
        counts[answer] = counts.get(answer, 0) + 1
    right = sum(max(counts.values()) for counts in best.values()) / 6000
    assert right == pytest.approx(world.chance(kind, world.learned), abs=0.04)


def test_a_kind_that_was_forgotten_is_refused(monkeypatch):
    monkeypatch.setattr("course_lib.data.worlds.shapes.KINDS", (*KINDS, "why"))
    scenes = world.sample(1, torch.Generator().manual_seed(0), world.learned)
    with pytest.raises(ValueError, match=f'kind="why" is not supported; use one of {", ".join(KINDS)}'):
        world.ask(scenes, torch.tensor([len(KINDS)]), torch.Generator())


def test_the_share_of_things_alone():
    scenes = world.sample(4000, torch.Generator().manual_seed(2), world.learned, alone=0.25)
    left, right = ((side == NOTHING).float().mean().item() for side in scenes)
    assert left == pytest.approx(0.125, abs=0.02)
    assert right == pytest.approx(0.125, abs=0.02)

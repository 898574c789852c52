"""The split of the emoji: which are for training, for choosing a recipe (validation) and for reporting (test)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.loading.split import hash_to_unit

VENDORS = ("openmoji", "twemoji", "noto", "fluent")
VALIDATION_VENDOR, TEST_VENDOR = "noto", "fluent"
# Older sets, for training alone; each lacks some of the concepts. Other Fluent sets stay out, since they have the test
# vendor's shapes.
MORE_VENDORS = ("emojione", "noto-v1", "emojione-v1", "fxemoji")
# Noto v1 is by the house of the validation vendor. Nearly all of it was drawn anew since, faces above all, but a few
# drawings are the very same (comet, tornado), so it is not trained on where the validation vendor has to be new.
_SAME_HOUSE = {"noto": "noto-v1"}
SIDES = ("train", "validation", "test")

# Words that only tell variants of one drawing apart: sex and age, colour, size and number, direction, state.
_VARIANT = re.compile(
    r"\b((wo)?m[ae]n|persons?|people|child|boy|girl|baby|older|old|mrs|mx|santa|face|"
    r"red|orange|yellow|green|(light )?blue|purple|pink|brown|black|white|gr[ae]y|"
    r"large|small|slightly|low|medium|high|double|two|1st|2nd|3rd|yen|dollar|euro|pound|"
    r"(left|right|up|down)(wards?|-facing)?|oncoming|incoming|outbox|inbox|open|closed|increasing|decreasing)\b(’s\b)?",
    re.IGNORECASE,
)
_CLOCK = re.compile("o’clock|-thirty")
_SCENE = re.compile(" with(?:out)? | showing | behind | on | volume")  # what follows adds something to the drawing

# Subgroups of Emojibase in which all is one drawing with another sign, hand or tint.
_ONE_DRAWING = {"alphanum", "arrow", "av-symbol", "cat-face", "geometric", "keycap", "zodiac"}

# One drawing under different names, found by comparing the pictures: left what the rule makes of a name, right the
# family. The moon is here because at 32 x 32 a full moon is a yellow circle.
_SAME = {
    "angry": "smiling",
    "breast feeding": "feeding",
    "cat": "cat-face",
    "confused": "neutral",
    "dotted six pointed star": "star of david",
    "expressionless": "neutral",
    "frowning": "person",
    "mermaid": "merperson",
    "merman": "merperson",
    "pouting": "person",
    "prince": "with crown",
    "princess": "with crown",
    "revolving hearts": "hearts",
    "unlocked": "locked",
}


@functools.cache
def family(name: str, subgroup: str) -> str:
    """Return the family of a concept; variants of one drawing (sex, age, hair, colour, size, direction, hour) share it.

    Different expressions of the yellow face are different families, unless they are hard to tell apart at 32 x 32
    pixels.

    Args:
        name: The English name.
        subgroup: The subgroup in Emojibase, such as "animal-mammal".
    """
    if subgroup in _ONE_DRAWING:
        return subgroup
    if _CLOCK.search(name):
        return "clock"
    if name.endswith(("moon", "moon face")):
        return "geometric"
    name = re.split("[:,(]", name)[0]  # what follows is a variant: "man: bald", "person running: facing right"
    for part in (_SCENE.split(name)[0], name):
        words = " ".join(re.findall(r"\w+", _VARIANT.sub(" ", part).lower()))
        if words:
            return _SAME.get(words, words)
    return "person"


def side(family: str) -> str:
    """Return the part of the split, one of SIDES, of all concepts of a family: about 70, 15 and 15 % of the families.

    It depends on the family's name alone, so it is the same in every run, with any seed, size and selection.
    """
    draw = hash_to_unit(f"emoji family: {family}")
    return "train" if draw < 0.70 else "validation" if draw < 0.85 else "test"


@dataclass(frozen=True)
class Grid:
    """All images of some concepts by some vendors, both given as indices into `Emoji.images`."""

    vendors: Int[Tensor, " vendors"]
    concepts: Int[Tensor, " concepts"]

    def __len__(self) -> int:
        return len(self.vendors) * len(self.concepts)

    def indices(self) -> tuple[Int[Tensor, " images"], Int[Tensor, " images"]]:
        """Return the vendor and the concept of every image, vendor by vendor: `images[grid.indices()]` are all."""
        return self.vendors.repeat_interleave(len(self.concepts)), self.concepts.repeat(len(self.vendors))


@dataclass(frozen=True)
class Split:
    """The images to train on and three kinds of held-out images; no image is in two of the four."""

    train: Grid
    new_vendor: Grid  # concepts that are learned, in a style that is not
    new_concepts: Grid  # styles that are learned (without those of MORE_VENDORS), concepts that are not
    both_new: Grid  # neither


def split_emoji(families: Sequence[str], stage: str, more: bool = False) -> Split:
    """Split concepts (by their families) and vendors, for choosing a recipe or for reporting on it.

    In the stage "validation" the test vendor and the test concepts appear nowhere, so nothing can be tuned on them. In
    the stage "test" the validation vendor is used for training; the validation concepts appear nowhere, so that both
    stages train on the same concepts.

    Args:
        families: The family of each concept.
        stage: "validation" (to choose) or "test" (to report).
        more: Whether to train on MORE_VENDORS too (but for Noto v1 in the stage "validation"). What is held out is the
            same without them.

    Raises:
        ValueError: If there is no such stage.
    """
    if stage not in ("validation", "test"):
        raise ValueError(f'the stage is "validation" (to choose a recipe) or "test" (to report), not {stage!r}')
    new = VALIDATION_VENDOR if stage == "validation" else TEST_VENDOR
    old_vendors = _where([vendor not in (new, TEST_VENDOR) for vendor in VENDORS])
    learned = VENDORS + MORE_VENDORS if more else VENDORS
    train_vendors = _where([vendor not in (new, TEST_VENDOR, _SAME_HOUSE.get(new)) for vendor in learned])
    new_vendor = _where([vendor == new for vendor in VENDORS])
    sides = [side(each) for each in families]
    old_concepts = _where([each == "train" for each in sides])
    new_concepts = _where([each == stage for each in sides])
    return Split(
        train=Grid(train_vendors, old_concepts),
        new_vendor=Grid(new_vendor, old_concepts),
        new_concepts=Grid(old_vendors, new_concepts),
        both_new=Grid(new_vendor, new_concepts),
    )


def _where(yes: Sequence[bool]) -> Int[Tensor, " n"]:
    return torch.tensor(yes, dtype=torch.bool).nonzero()[:, 0]

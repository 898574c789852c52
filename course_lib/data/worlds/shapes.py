"""Small pictures of coloured shapes, one alone or two side by side, with captions, and questions with their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.data.worlds.words import distinct_words
from course_lib.settings import not_supported

COLOURS = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.60, 0.20),
    "blue": (0.10, 0.30, 0.90),
    "yellow": (0.95, 0.80, 0.10),
    "purple": (0.55, 0.20, 0.70),
    "black": (0.10, 0.10, 0.10),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring", "bar", "pillar")
KINDS = ("colour", "shape", "where", "beside")
SIDES = ("left", "right")
NOTHING = -1  # on a side without a shape


class ShapeScenes(NamedTuple):
    """A batch of scenes: what stands on the left and what on the right, as indices into `names`, or NOTHING."""

    left: Int[Tensor, " batch"]
    right: Int[Tensor, " batch"]

    def exchanged(self) -> ShapeScenes:
        """Return the scenes with left and right exchanged."""
        return ShapeScenes(self.right, self.left)

    def colours_exchanged(self) -> ShapeScenes:
        """Return the scenes with the colours of the two shapes exchanged."""
        n = len(SHAPES)
        return ShapeScenes(self.right // n * n + self.left % n, self.left // n * n + self.right % n)


@dataclass(frozen=True)
class ColouredShapes:
    """Pictures of 6 colours x 8 shapes on white, in the left half, in the right half, or in both.

    A quarter of the 48 pairs of colour and shape are held out (`new`), two of every colour, so that each colour and
    each shape is learned, and the pairs themselves are not.
    """

    size: int = 24

    @property
    def names(self) -> tuple[str, ...]:
        """The names: "red circle" and so on."""
        return tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)

    @property
    def new(self) -> Int[Tensor, " held_out"]:
        """The pairs of colour and shape that are held out."""
        return self._is_new().nonzero()[:, 0]

    @property
    def learned(self) -> Int[Tensor, " learned"]:
        """The other pairs."""
        return (~self._is_new()).nonzero()[:, 0]

    def _is_new(self) -> Bool[Tensor, " names"]:
        index = torch.arange(len(COLOURS) * len(SHAPES))
        return (index // len(SHAPES) + index % len(SHAPES)) % 4 == 0

    def sample(
        self, batch: int, generator: torch.Generator, among: Int[Tensor, " names"], alone: float = 0.0
    ) -> ShapeScenes:
        """Sample scenes of two different things.

        Args:
            batch: The number of scenes.
            generator: The source of randomness.
            among: The names to choose from.
            alone: The share of scenes that keep one thing only, on either side.
        """
        n = len(among)
        first = torch.randint(n, (batch,), generator=generator)
        second = (first + torch.randint(1, n, (batch,), generator=generator)) % n
        left, right = among[first].clone(), among[second].clone()
        single = torch.rand(batch, generator=generator) < alone
        drop_left = torch.rand(batch, generator=generator) < 0.5
        left[single & drop_left] = NOTHING
        right[single & ~drop_left] = NOTHING
        return ShapeScenes(left, right)

    def draw(self, scenes: ShapeScenes, generator: torch.Generator) -> Float[Tensor, "batch 3 size size"]:
        """Draw scenes, with values from 0 to 1; place, size and brightness of each shape are a little random."""
        pictures = torch.ones(len(scenes.left), 3, self.size, self.size)
        for side, which in enumerate(scenes):
            ink, colour = self._thing(which, side, generator)
            pictures = torch.where(ink[:, None], colour[:, :, None, None], pictures)
        return pictures

    def _thing(self, which: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return where a thing is drawn, "batch size size", and its colour, "batch 3"."""
        x, y, radius, light = torch.rand(4, len(which), 1, 1, generator=generator)
        half = self.size / 2
        radius = (0.33 + 0.09 * radius) * half
        place = torch.arange(self.size) + 0.5
        x = (place - half * (side + 0.4 + 0.2 * x)) / radius
        y = (place[:, None] - radius - (self.size - 2 * radius) * y) / radius
        index = which.clamp(min=0)
        masks = torch.stack(_masks(*torch.broadcast_tensors(x, y)), dim=1)
        rows = torch.arange(len(which))
        ink = masks[rows, index % len(SHAPES)] & (which != NOTHING)[:, None, None]
        colour = torch.tensor(list(COLOURS.values()))[index // len(SHAPES)]
        return ink, (colour * (0.85 + 0.15 * light[:, :, 0])).clamp(max=1)

    def captions(self, scenes: ShapeScenes, from_right: Bool[Tensor, " batch"] | None = None) -> list[str]:
        """Write captions: "red circle", or "red circle left of blue square".

        Args:
            scenes: The scenes.
            from_right: Where the caption begins with what is on the right: "blue square right of red circle".
        """
        names = self.names
        turned = [False] * len(scenes.left) if from_right is None else from_right.tolist()
        found = []
        for left, right, turn in zip(scenes.left.tolist(), scenes.right.tolist(), turned, strict=True):
            if NOTHING in (left, right):
                found.append(names[max(left, right)])
            elif turn:
                found.append(f"{names[right]} right of {names[left]}")
            else:
                found.append(f"{names[left]} left of {names[right]}")
        return found

    def ask(
        self, scenes: ShapeScenes, kind: Int[Tensor, " batch"], generator: torch.Generator
    ) -> list[tuple[str, str]]:
        """Ask about scenes of two things, and answer.

        - colour: "what colour is on the left?", one of 6;
        - shape: "what shape is on the right?", one of 8;
        - where: "where is red circle?", left or right;
        - beside: "what is beside red circle?", the other thing.

        Args:
            scenes: The scenes.
            kind: What is asked about each, as an index into KINDS.
            generator: Chooses the side that is asked about.
        """
        sides = torch.randint(2, (len(kind),), generator=generator).tolist()
        both = torch.stack(scenes, dim=1).tolist()
        return [self._ask(things, side, KINDS[k]) for things, side, k in zip(both, sides, kind.tolist(), strict=True)]

    def _ask(self, things: list[int], side: int, kind: str) -> tuple[str, str]:
        name, other = self.names[things[side]], self.names[things[1 - side]]
        colour, shape = name.split()
        match kind:
            case "colour":
                return f"what colour is on the {SIDES[side]}?", colour
            case "shape":
                return f"what shape is on the {SIDES[side]}?", shape
            case "where":
                return f"where is {name}?", SIDES[side]
            case "beside":
                return f"what is beside {name}?", other
            case unknown:
                raise not_supported("kind", unknown, KINDS)

    def chance(self, kind: str, among: Int[Tensor, " names"]) -> float:
        """Return the best accuracy from the question alone, if scenes are sampled `among` names."""
        n = len(SHAPES)
        parts = {"colour": among // n, "shape": among % n}
        if kind in parts:
            return (torch.bincount(parts[kind]).amax() / len(among)).item()
        return {"where": 1 / 2, "beside": 1 / (len(among) - 1)}[kind]

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word and mark of captions and questions."""
        return distinct_words(["what colour shape where is on the beside of ?", *SIDES, *COLOURS, *SHAPES])


def _masks(x: Tensor, y: Tensor) -> list[Bool[Tensor, "batch size size"]]:
    """Return what each of SHAPES covers, where x and y are distances from its middle in radii; y points down."""
    across, down, radius = x.abs(), y.abs(), x.square() + y.square()
    return [
        radius <= 1,
        (across <= 0.85) & (down <= 0.85),
        (across <= (y + 1) / 1.8) & (y <= 0.8),
        across + down <= 1.1,
        ((across <= 0.35) & (down <= 1)) | ((down <= 0.35) & (across <= 1)),
        (radius <= 1) & (radius >= 0.3),
        (down <= 0.4) & (across <= 1),
        (across <= 0.4) & (down <= 1),
    ]

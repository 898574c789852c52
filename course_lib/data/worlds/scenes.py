"""Scenes: grids of concepts, questions about them with exact accuracies, and images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from course_lib.data.worlds.sampling import distinct, permutations, pick
from course_lib.data.worlds.words import distinct_words
from course_lib.settings import check_counts, not_supported

KINDS = ("where", "count", "exist", "caption", "beside", "direction")
EMPTY = -1
# "Left of X" asks for the cell one column before X, "above X" for the one a row before.
DIRECTIONS = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
SIDES = ("beside", "above or below")

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


class SceneBatch(NamedTuple):
    """A batch of scenes with a question about each."""

    cells: Int[Tensor, "batch cell"]  # concepts in reading order; EMPTY where there is none
    kind: Int[Tensor, " batch"]  # index into KINDS
    concept: Int[Tensor, " batch"]  # the concept that the question names, or -1
    detail: Int[Tensor, " batch"]  # the cell asked about, or the index into SIDES or DIRECTIONS, or -1
    answer: Int[Tensor, " batch"]  # a concept, a number, 0 or 1 for no or yes; -1 for a caption


@dataclass(frozen=True)
class Scenes:
    """Grids of concepts, given by their index in `names`, with six kinds of questions.

    - where, "what is at the top left?": a concept; all cells are filled, all with different concepts.
    - count, "how many times is X in the picture?": one concept is there 2 to n - 1 times (of n cells), the others once.
      The question is, equally often, about the repeated one, one that is there once, or an absent one; so neither the
      image alone nor the question alone gives the number away.
    - exist, "is X in the picture?": yes or no, equally often; all concepts are different.
    - caption, "what is in the picture?": 1 to n concepts in reading order; the other cells are empty.
    - beside, "what is beside X?" and "what is above or below X?": the other concept in the row or column. Only for
      grids of 2 x 2; the words do not give the answer's cell away.
    - direction, "what is left of X?" and so on. A shortcut is built in: nothing is left of the first column, so the
      words rule out a row or a column of answers even without X. In a grid of 2 x 2 that leads to 1/2, twice the 1/4
      of "beside"; in larger grids it leads less far.

    All chance levels and ceilings are exact.

    Raises:
        ValueError: If the grid is smaller than 2 x 2, a name occurs twice, or there are too few concepts.
    """

    names: tuple[str, ...]
    rows: int = 2
    columns: int = 2

    def __post_init__(self) -> None:
        check_counts(self, "rows", "columns", least=2)
        if len(set(self.names)) < len(self.names):
            raise ValueError("two concepts have the same name, so answers would be ambiguous; leave one out")
        if len(self.names) <= self.n_cells:
            raise ValueError(f"{self.n_cells} cells and an absent concept need more than {len(self.names)} concepts")

    @property
    def n_cells(self) -> int:
        """The number of cells."""
        return self.rows * self.columns

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of questions that this grid allows; "beside" only if rows and columns are pairs."""
        return tuple(kind for kind in KINDS if kind != "beside" or self.n_cells == 4)

    def chance(self, kind: str) -> float:
        """Return the best accuracy from the question alone, without the scene."""
        n = len(self.names)
        # The most frequent caption is a single name: one scene in n_cells has one concept, and any is as likely.
        caption = 1 / (self.n_cells * n)
        levels = {"where": 1 / n, "count": 1 / 3, "exist": 1 / 2, "caption": caption}
        return {**levels, "beside": 1 / (n - 1), "direction": 1 / (n - 1)}[self._checked(kind)]

    def sample(self, batch: int, generator: torch.Generator, kinds: Sequence[str] | None = None) -> SceneBatch:
        """Sample scenes with a question each; all `kinds` (by default all that the grid allows) are equally likely."""
        kinds = [self._checked(kind) for kind in kinds or self.kinds]
        chosen = torch.randint(len(kinds), (batch,), generator=generator)
        kind = torch.tensor([KINDS.index(name) for name in kinds])[chosen]
        cells = torch.full((batch, self.n_cells), EMPTY)
        rest = torch.full((batch, 3), -1)
        makers = (self._where, self._count, self._exist, self._caption, self._beside, self._direction)
        for name, make in zip(KINDS, makers, strict=True):
            rows = (kind == KINDS.index(name)).nonzero()[:, 0]
            if len(rows):
                drawn = distinct(len(rows), len(self.names), self.n_cells + 1, generator)
                cells[rows], *parts = make(drawn[:, :-1], drawn[:, -1], generator)
                rest[rows] = torch.stack(parts, dim=1)
        return SceneBatch(cells, kind, *rest.unbind(1))

    # Each maker gets different concepts for all cells, and one more that is absent.
    # It returns the cells, the concept that the question names, the detail, the answer.

    def _where(self, cells: Tensor, absent: Tensor, generator: torch.Generator) -> Parts:
        at = _below(self.n_cells, absent, generator)
        return cells, torch.full_like(at, -1), at, pick(cells, at)

    def _count(self, cells: Tensor, absent: Tensor, generator: torch.Generator) -> Parts:
        copies = 2 + _below(self.n_cells - 2, absent, generator)
        # Concept 0 takes `copies` of the places, in random order among the others.
        place = (permutations(len(cells), self.n_cells, generator) - copies[:, None] + 1).clamp(min=0)
        role = _below(3, absent, generator)  # of the named concept: repeated, there once, absent
        named = pick(torch.stack([cells[:, 0], cells[:, 1], absent], dim=1), role)
        number = torch.where(role == 0, copies, (role == 1).long())
        return cells.gather(1, place), named, torch.full_like(copies, -1), number

    def _exist(self, cells: Tensor, absent: Tensor, generator: torch.Generator) -> Parts:
        yes = _below(2, absent, generator)
        present = pick(cells, _below(self.n_cells, absent, generator))
        return cells, torch.where(yes == 1, present, absent), torch.full_like(yes, -1), yes

    def _caption(self, cells: Tensor, absent: Tensor, generator: torch.Generator) -> Parts:
        filled = 1 + _below(self.n_cells, absent, generator)[:, None]
        kept = permutations(len(cells), self.n_cells, generator) < filled
        nothing = torch.full_like(absent, -1)
        return cells.where(kept, EMPTY), nothing, nothing, nothing

    def _beside(self, cells: Tensor, absent: Tensor, generator: torch.Generator) -> Parts:
        at, side = _below(4, absent, generator), _below(2, absent, generator)
        # Cells 0 1 / 2 3: the neighbour in the row differs in the last bit, the one in the column in the first.
        return cells, pick(cells, at), side, pick(cells, at ^ (1 + side))

    def _direction(self, cells: Tensor, absent: Tensor, generator: torch.Generator) -> Parts:
        direction = _below(4, absent, generator)
        down, right = torch.tensor(list(DIRECTIONS.values()))[direction].unbind(1)
        row = _within(self.rows, down, generator)
        column = _within(self.columns, right, generator)
        named = pick(cells, row * self.columns + column)
        return cells, named, direction, pick(cells, (row + down) * self.columns + column + right)

    def _checked(self, kind: str) -> str:
        if kind not in self.kinds:
            raise ValueError(
                f"a grid of {self.rows} x {self.columns} has questions {', '.join(self.kinds)}, not {kind!r}"
            )
        return kind

    def place(self, cell: int) -> str:
        """Return the name of a cell: "top left" and so on, or "row 1 column 3" in larger grids."""
        row, column = divmod(cell, self.columns)
        if self.n_cells == 4:
            return f"{('top', 'bottom')[row]} {('left', 'right')[column]}"
        return f"row {row + 1} column {column + 1}"

    def questions(self, batch: SceneBatch) -> list[str]:
        """Write the questions in words."""
        rows = torch.stack([batch.kind, batch.concept, batch.detail], dim=1)
        return [self._question(*row) for row in rows.tolist()]

    def _question(self, kind: int, concept: int, detail: int) -> str:
        name = self.names[concept]
        match KINDS[kind]:
            case "where":
                return f"what is at the {self.place(detail)}?"
            case "count":
                return f"how many times is {name} in the picture?"
            case "exist":
                return f"is {name} in the picture?"
            case "caption":
                return "what is in the picture?"
            case "beside":
                return f"what is {SIDES[detail]} {name}?"
            case "direction":
                return f"what is {list(DIRECTIONS)[detail]} {name}?"
            case other:
                raise not_supported("kind", other, KINDS)

    def answers(self, batch: SceneBatch) -> list[str]:
        """Write the answers in words: a name, a number, "yes" or "no", or a caption's names separated by commas."""
        rows = zip(batch.cells.tolist(), batch.kind.tolist(), batch.answer.tolist(), strict=True)
        return [self._answer(*row) for row in rows]

    def _answer(self, cells: list[int], kind: int, answer: int) -> str:
        match KINDS[kind]:
            case "count":
                return str(answer)
            case "exist":
                return ("no", "yes")[answer]
            case "caption":
                return ", ".join(self.names[concept] for concept in cells if concept != EMPTY)
            case "where" | "beside" | "direction":
                return self.names[answer]
            case other:
                raise not_supported("kind", other, KINDS)

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """every word and mark of the questions and answers; those that are not names come first."""
        fixed = ["what is at the in picture ? how many times , yes no", *SIDES, *DIRECTIONS]
        places = [self.place(cell) for cell in range(self.n_cells)]
        return distinct_words([*fixed, *places, " ".join(str(n) for n in range(self.n_cells)), *self.names])

    def images(
        self,
        cells: Int[Tensor, "batch cell"],
        vendors: Int[Tensor, "batch cell"],
        tiles: UInt8[Tensor, "vendor concept 3 size size"],
        background: int = 255,
    ) -> UInt8[Tensor, "batch 3 height width"]:
        """Draw the scenes as images: the tile of each cell's concept by that cell's vendor; empty cells are plain.

        Args:
            cells: The concepts of the scenes.
            vendors: The vendor of each cell's drawing.
            tiles: Every vendor's image of every concept, in the order of `names`.
            background: The value of all pixels of an empty cell.

        Raises:
            ValueError: If a vendor does not have as many tiles as there are names.
        """
        if tiles.shape[1] != len(self.names):
            raise ValueError(f"there are {len(self.names)} names but {tiles.shape[1]} pictures a vendor")
        size = tiles.shape[-1]
        drawn = tiles[vendors, cells.clamp(min=0)]
        drawn[cells == EMPTY] = background
        grid = drawn.view(-1, self.rows, self.columns, 3, size, size).permute(0, 3, 1, 4, 2, 5)
        return grid.reshape(-1, 3, self.rows * size, self.columns * size)


def _below(n: int, like: Int[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, " batch"]:
    """Sample a number below n for each row."""
    return torch.randint(n, like.shape, generator=generator)


def _within(n: int, step: Int[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, " batch"]:
    """Sample a row (or column) of n from which a step of -1, 0 or 1 stays inside the grid."""
    # n (n - 1) is a multiple of both n and n - 1, so the remainder is uniform.
    return _below(n * (n - 1), step, generator) % (n - step.abs()) + (step < 0)

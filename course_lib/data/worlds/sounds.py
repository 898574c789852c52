"""Sounds of known frequencies: one tone, two at once, or a glide up or down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.data.worlds.sampling import distinct
from course_lib.settings import check_counts, check_numbers

KINDS = ("tone", "chord", "rising", "falling")
TONE, CHORD, RISING, FALLING = range(4)


class SoundBatch(NamedTuple):
    """A batch of sounds with their kinds and notes."""

    sounds: Float[Tensor, "batch samples"]  # from -1 to 1, except for the noise
    kind: Int[Tensor, " batch"]  # index into KINDS
    first: Int[Tensor, " batch"]  # the note at the beginning, or the lower one of a chord
    second: Int[Tensor, " batch"]  # the note at the end, or the higher one of a chord


@dataclass(frozen=True)
class Sounds:
    """Sounds of four equally likely kinds: a steady tone, a chord of two tones, and a glide up or down between notes.

    Note i of `n_notes` has the frequency lowest 2^(i/2) Hz: half an octave from one to the next. Two different notes
    are drawn; a tone is one of them, a chord both, and a glide goes from one to the other, at a constant number of
    octaves per second. Phase and loudness are random.

    Args:
        rate: The sampling rate, in samples per second.
        samples: The length of a sound, in samples.
        lowest: The frequency of note 0, in Hz.
        n_notes: The number of notes.
        noise: The standard deviation of white noise; that of a pure tone is 0.07 to 0.5.

    Raises:
        ValueError: If there are fewer than two notes, no samples, or notes above rate / 2, which the samples cannot
            represent.
    """

    rate: int = 16000
    samples: int = 8192
    lowest: float = 200.0
    n_notes: int = 9
    noise: float = 0.01

    def __post_init__(self) -> None:
        check_counts(self, "n_notes", least=2)
        check_counts(self, "samples")
        check_numbers(self, "lowest", above=0)
        check_numbers(self, "noise", least=0)
        if (highest := self.frequencies[-1].item()) >= self.rate / 2:
            raise ValueError(
                f"{self.rate} samples a second hold frequencies below {self.rate / 2:g} Hz, but the highest note has "
                f"{highest:g}; use a lower one or fewer notes"
            )

    @property
    def frequencies(self) -> Float[Tensor, " notes"]:
        """The frequency of each note in Hz."""
        return self.lowest * 2 ** (torch.arange(self.n_notes, dtype=torch.float64) / 2)

    @property
    def chance(self) -> float:
        """The accuracy without hearing the sound: exactly 1/4."""
        return 1 / len(KINDS)

    @property
    def timeless_ceiling(self) -> float:
        """The best accuracy from the strength of each frequency without its time: 3/4.

        A falling glide is a rising one played backwards and has the same spectrum, so between the two a model must
        guess. A model that hears everything can always be right, unless noise drowns the sound.
        """
        return 3 / 4

    def sample(self, batch: int, generator: torch.Generator) -> SoundBatch:
        """Sample sounds."""
        kind = torch.randint(len(KINDS), (batch,), generator=generator)
        notes = distinct(batch, self.n_notes, 2, generator)
        low, high = notes.sort(dim=1).values.unbind(1)
        first = torch.where(kind == TONE, notes[:, 0], low)
        second = torch.where(kind == TONE, notes[:, 0], high)
        phase = 2 * math.pi * torch.rand(batch, 2, 1, generator=generator, dtype=torch.float64)
        loudness = 0.1 + 0.6 * torch.rand(batch, 1, generator=generator, dtype=torch.float64)

        # In place, since thousands of sounds in float64 take hundreds of megabytes each time they are copied.
        chord, falling = kind == CHORD, kind == FALLING
        sounds = self.glide(first, torch.where(chord, first, second)).add_(phase[:, 0]).sin_()
        other = self.glide(second[chord], second[chord]).add_(phase[chord, 1]).sin_()
        sounds[chord] = (sounds[chord] + other) / math.sqrt(2)  # as loud as one alone
        sounds[falling] = sounds[falling].flip(1)
        sounds.mul_(loudness)
        sounds.add_(torch.randn(sounds.shape, generator=generator, dtype=torch.float64), alpha=self.noise)
        return SoundBatch(
            sounds.float(), kind, torch.where(falling, second, first), torch.where(falling, first, second)
        )

    def glide(self, first: Int[Tensor, " batch"], second: Int[Tensor, " batch"]) -> Float[Tensor, "batch samples"]:
        """Compute the phase, in radians, of a glide from one note to another; of a tone if both are the same."""
        octaves = math.log(2) / 2 * (second - first)[:, None].double()
        # Each sample in the middle of its time, so that backwards they are at the same times.
        time = (torch.arange(self.samples, dtype=torch.float64) + 0.5) / self.samples
        # The integral of exp(octaves * time), which for a tone is the time itself.
        turned = (octaves * time).expm1_().div_(octaves.where(octaves != 0, 1.0))
        turned[octaves[:, 0] == 0] = time
        return turned.mul_(2 * math.pi * self.frequencies[first][:, None] * self.samples / self.rate)

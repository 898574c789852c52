"""Sounds are what they say they are, to the sample; their levels are exact."""

import math

import pytest
import torch
from guessing import near, rng

from course_lib.data.worlds.sounds import CHORD, FALLING, KINDS, RISING, TONE, Sounds

PURE = Sounds(noise=0.0, samples=4096)


def left_over(sound, phases):
    """The share of a sound's power that no mixture of waves with these phases has."""
    waves = torch.cat([torch.stack((phase.sin(), phase.cos())) for phase in phases]).T
    rest = sound.double() - waves @ torch.linalg.lstsq(waves, sound.double()).solution
    return (rest.square().sum() / sound.double().square().sum()).item()


def test_each_sound_is_what_it_says():
    batch, seconds = PURE.sample(200, rng()), PURE.samples / PURE.rate
    time = (torch.arange(PURE.samples, dtype=torch.float64) + 0.5) / PURE.rate
    for sound, kind, first, second in zip(*batch, strict=True):
        start, end = (PURE.lowest * 2 ** (note / 2).item() for note in (first, second))
        assert (kind == TONE) == (first == second)
        assert (kind == FALLING) == (first > second)
        # The frequency start (end/start)^(t/seconds), integrated over the time: the closed form of the phase.
        if kind == TONE:
            phases = [2 * math.pi * start * time]
        elif kind == CHORD:
            phases = [2 * math.pi * frequency * time for frequency in (start, end)]
        else:
            growth = math.log(end / start) / seconds
            phases = [2 * math.pi * start * torch.expm1(growth * time) / growth]
        # Float32 keeps 24 bits, so the power of its rounding is a share of about 2^-48 = 4e-15.
        assert left_over(sound, phases) < 1e-12, KINDS[kind]
        if kind == CHORD:
            for one in phases:  # both are there, equally strong; in 20 periods or more of their beat they hardly mix
                assert left_over(sound, [one]) == pytest.approx(0.5, abs=0.05)


def test_a_falling_glide_is_a_rising_one_backwards():
    """So whoever hears no order cannot tell them apart: the spectra have the same distribution."""
    batch = PURE.sample(200, rng())
    for sound, kind, first, second in zip(*batch, strict=True):
        if kind == FALLING:
            assert left_over(sound.flip(0), PURE.glide(second[None], first[None])) < 1e-12
            backwards = torch.fft.rfft(sound.double().flip(0)).abs()
            torch.testing.assert_close(backwards, torch.fft.rfft(sound.double()).abs())


def test_kinds_and_notes_are_fair():
    world = Sounds(samples=16, n_notes=4)
    batch = world.sample(20_000, rng())
    for kind in range(4):
        assert near(batch.kind == kind, world.chance)
    for kind, among in ((TONE, "first"), (RISING, "first"), (CHORD, "second")):
        notes = getattr(batch, among)[batch.kind == kind]
        # The smaller of two different notes of four is 0, 1, 2 in 3, 2, 1 of 6 cases; a tone is any of them.
        shares = {"first": [3 / 6, 2 / 6, 1 / 6, 0], "second": [0, 1 / 6, 2 / 6, 3 / 6]}[among]
        for note, share in enumerate([1 / 4] * 4 if kind == TONE else shares):
            assert near(notes == note, share)
    rising = batch.kind == RISING
    assert near((batch.second - batch.first)[rising] == 1, 3 / 6)


def test_any_phase_is_as_likely():
    batch = Sounds(noise=0.0, samples=3).sample(8000, rng())
    for kind in range(4):
        assert near(batch.sounds[batch.kind == kind, 0] > 0, 1 / 2)


def test_loudness_tells_nothing():
    batch = Sounds(noise=0.0, samples=512).sample(3000, rng())
    power = batch.sounds.double().square().mean(dim=1)
    expected = (0.7**3 - 0.1**3) / (3 * 0.6) / 2  # half the mean square of a loudness uniform between 0.1 and 0.7
    for kind in range(4):
        its = power[batch.kind == kind]
        assert abs(its.mean() - expected) < 5 * its.std() / len(its) ** 0.5
    assert batch.sounds.abs().max() <= 1


def test_the_seed_decides_and_noise_is_noise():
    world = Sounds(samples=400)
    same, other = world.sample(6, rng(3)), world.sample(6, rng(4))
    assert all(torch.equal(a, b) for a, b in zip(world.sample(6, rng(3)), same, strict=True))
    assert not torch.equal(same.sounds, other.sounds)
    noise = (
        Sounds(samples=400, noise=0.1).sample(50, rng()).sounds
        - Sounds(samples=400, noise=0.0).sample(50, rng()).sounds
    )
    assert abs(noise.std() - 0.1) < 5 * 0.1 / (2 * noise.numel()) ** 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_notes": 1}, "n_notes=1 must be a whole number, at least 2"),
        ({"samples": 0}, "samples=0 must be a whole number, at least 1"),
        ({"lowest": 0.0}, "lowest=0.0 must be a number above 0"),
        ({"noise": -1.0}, "noise=-1.0 must be a number at least 0"),
        ({"rate": 6400}, "6400 samples a second hold frequencies below 3200 Hz, but the highest note has 3200"),
    ],
)
def test_sounds_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        Sounds(**changes)


def test_levels():
    assert (Sounds().chance, Sounds().timeless_ceiling) == (0.25, 0.75)

"""Where a tone lights up in a log-mel spectrogram, from the formula of the mel scale (Slaney 1998)."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def mel_band(hertz, rate, n_mels):
    def mel(f):
        return torch.where(f < 1000, f * 3 / 200, 15 + 27 * (f / 1000).log() / math.log(6.4))

    highest = mel(torch.tensor(rate / 2, dtype=torch.float64))
    step = highest / (n_mels + 1)  # n_mels peaks, and a border at either end
    return (mel(hertz.double()) / step).round().long().clamp(1, n_mels) - 1


def cases(rng):
    def tones(rate, n_mels):
        """Tones within a third of a step of a peak: none lies halfway between two."""
        place = torch.arange(1, n_mels + 1) + (torch.rand(n_mels, generator=rng, dtype=torch.float64) - 0.5) * 0.7
        top = 15 + 27 * math.log(rate / 2000) / math.log(6.4)
        mels = place * top / (n_mels + 1)
        hertz = torch.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
        return hertz[torch.randperm(n_mels, generator=rng)], rate, n_mels

    def between_peaks(rate):
        """Tones near the middle between two of three peaks, where the nearest in Hz is another than the nearest in "
        "mel."""
        middle = torch.tensor([1.45, 1.55, 2.45, 2.55], dtype=torch.float64).repeat(3)
        place = middle + (torch.rand(12, generator=rng, dtype=torch.float64) - 0.5) * 0.04
        mels = place * (15 + 27 * math.log(rate / 2000) / math.log(6.4)) / 4
        return (1000 * 6.4 ** ((mels - 15) / 27))[torch.randperm(12, generator=rng)], rate, 3

    return [
        Case("16,000 samples a second, 32 bands", tones(16000, 32)),
        Case("8,000 samples a second, 20 bands", tones(8000, 20)),
        Case("three bands, tones nearly halfway between two peaks", between_peaks(16000)),
        Case("below the first peak, and above the last", (torch.tensor([1.0, 7990.0, 1000.0]).double(), 16000, 10)),
    ]


@alternative
def by_nearest_peak(hertz, rate, n_mels):
    def mel(f):
        return f * 3 / 200 if f < 1000 else 15 + 27 * math.log(f / 1000) / math.log(6.4)

    peaks = [mel(rate / 2) * (i + 1) / (n_mels + 1) for i in range(n_mels)]
    distances = [[abs(peak - mel(f)) for peak in peaks] for f in hertz.tolist()]
    return torch.tensor([row.index(min(row)) for row in distances])


def bands(mels, highest, n_mels, intervals=1, first=1):
    step = highest / (n_mels + intervals)
    return (mels / step).round().long().clamp(first, n_mels - 1 + first) - first


def true_mel(f):
    f = torch.as_tensor(f, dtype=torch.float64)
    return torch.where(f < 1000, f * 3 / 200, 15 + 27 * (f / 1000).log() / math.log(6.4))


@mistake("Nearly: the first peak is one step above 0 and has the number 0, so subtract 1.")
def one_too_high(hertz, rate, n_mels):
    return mel_band(hertz, rate, n_mels) + 1


@mistake(
    "The bands are equally far apart in Hz here. They are equally far apart on the *mel* scale, which above 1000 Hz is "
    "a logarithm: convert the frequency, and the highest one, first."
)
def equal_in_hertz(hertz, rate, n_mels):
    return bands(hertz, rate / 2, n_mels)


@mistake(
    "The bands reach up to `rate` here. Samples hold frequencies up to half of that: the highest mel is that of "
    "`rate / 2`."
)
def up_to_the_rate(hertz, rate, n_mels):
    return bands(true_mel(hertz), true_mel(rate), n_mels)


@mistake(
    "This divides into n_mels steps. There are n_mels *peaks* between the two ends, so there are n_mels + 1 steps."
)
def one_step_too_few(hertz, rate, n_mels):
    return bands(true_mel(hertz), true_mel(rate / 2), n_mels, intervals=0)


@mistake(
    "The first band has its peak at 0 here, and the last at half the sampling rate. The two ends are not peaks: the "
    "n_mels peaks lie between them, so there are n_mels + 1 steps."
)
def ends_are_peaks(hertz, rate, n_mels):
    return bands(true_mel(hertz), true_mel(rate / 2), n_mels, intervals=-1, first=0)


@mistake(
    "This always rounds down. The band of a tone is the one whose peak is *nearest*, which may be the next one: use "
    "`.round()`."
)
def rounded_down(hertz, rate, n_mels):
    step = true_mel(rate / 2) / (n_mels + 1)
    return (true_mel(hertz) / step).floor().long().clamp(1, n_mels) - 1


@mistake("The logarithm is used below 1000 Hz too. There the scale is straight: mel = 3 f / 200.")
def logarithm_everywhere(hertz, rate, n_mels):
    return bands(15 + 27 * (hertz.double() / 1000).log() / math.log(6.4), true_mel(rate / 2), n_mels)


@mistake(
    "One logarithm is natural and the other to base 10. Either base will do, but take the same for f / 1000 and for "
    "6.4."
)
def mixed_logarithms(hertz, rate, n_mels):
    def mel(f):
        f = torch.as_tensor(f, dtype=torch.float64)
        return torch.where(f < 1000, f * 3 / 200, 15 + 27 * (f / 1000).log10() / math.log(6.4))

    return bands(mel(hertz), mel(rate / 2), n_mels)


def steps(hertz, rate, n_mels):
    return true_mel(hertz) / (true_mel(rate / 2) / (n_mels + 1))


@mistake("The first peak is one step above 0, and the band has the number 0: subtract 1, before you cut off the ends.")
def not_subtracted(hertz, rate, n_mels):
    return steps(hertz, rate, n_mels).round().long().clamp(0, n_mels - 1)


@mistake(
    "The two ends are counted as bands, so all numbers are too large by one. Only the n_mels peaks between them are "
    "bands, and the first one has the number 0."
)
def ends_are_bands(hertz, rate, n_mels):
    return steps(hertz, rate, n_mels).round().long()


@mistake(
    "This rounds down, and the first band begins at 0. Its peak is one step above 0: round to the *nearest* step, and "
    "subtract 1."
)
def rounded_down_from_zero(hertz, rate, n_mels):
    return steps(hertz, rate, n_mels).floor().long().clamp(0, n_mels - 1)


@mistake(
    "Some numbers are below 0, or there is no such band. What lies below the first peak belongs to the first band."
)
def ends_not_cut_off(hertz, rate, n_mels):
    return steps(hertz, rate, n_mels).round().long() - 1


@mistake("A tone below the first peak gets the number -1. It belongs to the first band, number 0.")
def below_zero(hertz, rate, n_mels):
    return steps(hertz, rate, n_mels).round().long().clamp(0, n_mels) - 1


@mistake("The nearest peak in *Hz* is taken. Nearest is meant on the mel scale: compare mels.")
def nearest_in_hertz(hertz, rate, n_mels):
    mels = torch.arange(1, n_mels + 1).double() * true_mel(rate / 2) / (n_mels + 1)
    peaks = torch.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    return (hertz.double()[:, None] - peaks).abs().argmin(1)


def bands_by(mel_above, hertz, rate, n_mels):
    def mel(f):
        f = torch.as_tensor(f, dtype=torch.float64)
        return torch.where(f < 1000, f * 3 / 200, mel_above(f / 1000))

    return bands(mel(hertz), mel(rate / 2), n_mels)


@mistake("The 15 is missing: above 1000 Hz the scale goes on from 15, where the straight part ends.")
def without_fifteen(hertz, rate, n_mels):
    return bands_by(lambda x: 27 * x.log() / math.log(6.4), hertz, rate, n_mels)


@mistake("The logarithm is not divided by ln 6.4.")
def without_the_base(hertz, rate, n_mels):
    return bands_by(lambda x: 15 + 27 * x.log(), hertz, rate, n_mels)


@mistake("The logarithm is divided by 6.4. Divide by its *logarithm*, ln 6.4.")
def over_the_base_itself(hertz, rate, n_mels):
    return bands_by(lambda x: 15 + 27 * x.log() / 6.4, hertz, rate, n_mels)


@mistake(
    "Half the sampling rate is in Hz here, and the tones are in mel. Convert both: the highest mel is that of `rate / "
    "2`."
)
def rate_in_hertz(hertz, rate, n_mels):
    return bands(true_mel(hertz), rate / 2, n_mels)


@mistake("These are mels. A band is one step wide, and a step is the highest mel divided by n_mels + 1.")
def mels_themselves(hertz, rate, n_mels):
    return true_mel(hertz).round().long()


@mistake(
    "The range is cut into n_mels bands side by side here, and a tone belongs to the piece in which it lies. There are "
    "n_mels *peaks* between the two ends, so n_mels + 1 steps, and the nearest peak counts."
)
def bands_side_by_side(hertz, rate, n_mels):
    step = true_mel(rate / 2) / n_mels
    return (true_mel(hertz) / step).floor().long().clamp(0, n_mels - 1)


EXERCISE = Exercise(
    id="mel_band",
    title="Where does a tone light up?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Convert the frequency to mel, and half the sampling rate too. n_mels peaks divide the range from 0 to that "
        "into n_mels + 1 equal steps. How many steps up is the tone?",
        "One step is `mel(rate / 2) / (n_mels + 1)`. The number of steps up to the tone, rounded, is 1 at the first "
        "peak; which band is that? And which numbers would be below the first peak or above the last?",
    ),
    reference=mel_band,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Sound as a picture",
)

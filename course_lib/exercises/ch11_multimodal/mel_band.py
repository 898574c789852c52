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

    return [
        Case("16,000 samples a second, 32 bands", tones(16000, 32)),
        Case("8,000 samples a second, 20 bands", tones(8000, 20)),
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
        "`step = mel(rate / 2) / (n_mels + 1)`, then `(mel(hertz) / step).round().long().clamp(1, n_mels) - 1`.",
    ),
    reference=mel_band,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Sound as a picture",
)

"""Sound as an image: log-mel spectrograms, which a ViT with one channel reads in patches (AST, Gong et al. 2021).

    model = ViT(ViTConfig(image_size=80, image_width=100, patch_size=10, channels=1, n_classes=10))
    logits = model(log_mel(sounds, 16000)[:, None])

This classifies sounds of one second into ten classes. As the vision tower of a VLM such a ViT lets a language model
hear.
"""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.settings import check_counts

RANGE = 8.0  # what is quieter than the loudest by more than eight powers of ten counts as silence, as in Whisper


@dataclass(frozen=True)
class SpectrogramConfig:
    """Settings of a spectrogram; the defaults are Whisper's (Radford et al. 2022, section 2.2).

    Args:
        rate: The sampling rate, in samples per second.
        n_fft: The number of samples in a window.
        hop: The number of samples from one window to the next.
        n_mels: The number of bands, which reach from 0 Hz to rate / 2.

    Raises:
        ValueError: If a size is below 1, or there are more bands than windows of n_fft samples can resolve.
    """

    rate: int = 16000
    n_fft: int = 400
    hop: int = 160
    n_mels: int = 80

    def __post_init__(self) -> None:
        check_counts(self, "rate", "n_fft", "hop", "n_mels")
        if (mel_filters(self) == 0).all(dim=1).any():
            raise ValueError(
                f"n_mels={self.n_mels} bands are too narrow for windows of n_fft={self.n_fft} samples: some are "
                "empty; use fewer bands or longer windows"
            )


def mel_to_hz(mel: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Convert mel to Hz; equal steps on the mel scale sound like equal distances in pitch.

    The scale is linear up to 1000 Hz, which is mel 15; above, 27 mel are a factor of 6.4 (Slaney 1998, Auditory
    Toolbox).
    """
    return torch.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def hz_to_mel(hertz: float) -> float:
    """Convert Hz to mel: the inverse of `mel_to_hz`."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


@functools.cache
def mel_filters(config: SpectrogramConfig) -> Float[Tensor, "mels frequencies"]:
    """Return the weight of each frequency of the Fourier transform in each band: triangles that overlap by half.

    Their peaks are equally spaced on the mel scale, and all have the same area (Slaney 1998, Auditory Toolbox).
    """
    corners = mel_to_hz(torch.linspace(0, hz_to_mel(config.rate / 2), config.n_mels + 2, dtype=torch.float64))
    frequency = torch.linspace(0, config.rate // 2, config.n_fft // 2 + 1, dtype=torch.float64)
    left, top, right = (corners[i : i + config.n_mels, None] for i in range(3))
    triangle = torch.minimum((frequency - left) / (top - left), (right - frequency) / (right - top)).clamp(min=0)
    return (triangle * 2 / (right - left)).float()


def log_mel(
    sounds: Float[Tensor, "*batch samples"], rate: int, config: SpectrogramConfig = SpectrogramConfig()
) -> Float[Tensor, "*batch mels frames"]:
    """Compute the log-mel spectrogram: the logarithm of the power per band and frame, about -1 (silence) to about 1.

    There are samples // hop frames. A model needs all sounds to have the same length:
    `F.pad(sound, (0, n - sound.shape[-1]))` pads with silence, or cuts.

    Args:
        sounds: One channel of floats from -1 to 1.
        rate: The sampling rate, in samples per second.
        config: The settings of the spectrogram.

    Raises:
        ValueError: If the rate is not the config's, or the sounds are integers or shorter than a window.

    Source: Radford et al. 2022, section 2.2, and the published code of Whisper.
    """
    if rate != config.rate:
        raise ValueError(
            f"the sound has {rate} samples a second, but the spectrogram is made for {config.rate}; resample it first: "
            f"scipy.signal.resample_poly(sound, {config.rate}, {rate})"
        )
    if not sounds.is_floating_point():
        raise ValueError(f"the sound is {sounds.dtype}; make it floats from -1 to 1: sound.float() / 32768 for 16 bits")
    least = max(config.n_fft // 2 + 1, config.hop)
    if sounds.shape[-1] < least:
        empty = "the sound is empty" if not sounds.shape[-1] else f"the sound has {sounds.shape[-1]} samples"
        raise ValueError(f"{empty}, but a spectrogram needs {least}; fill it up with silence")
    window = torch.hann_window(config.n_fft, device=sounds.device, dtype=sounds.dtype)
    flat = sounds.reshape(-1, sounds.shape[-1])
    waves = torch.stft(flat, config.n_fft, config.hop, window=window, return_complex=True)
    power = waves[..., : sounds.shape[-1] // config.hop].abs() ** 2
    bands = (mel_filters(config).to(power) @ power).clamp(min=1e-10).log10()
    bands = bands.maximum(bands.amax(dim=(-2, -1), keepdim=True) - RANGE)
    return (bands.unflatten(0, sounds.shape[:-1]) if sounds.dim() > 1 else bands[0]) / 4 + 1

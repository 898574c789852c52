"""Log-mel spectrograms are Whisper's, and a ViT over their patches learns what it hears."""

import inspect
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from course_lib.data.loading.audio import SpectrogramConfig, hz_to_mel, log_mel, mel_filters, mel_to_hz
from course_lib.data.worlds.sounds import Sounds
from course_lib.interop import from_pretrained, save_pretrained
from course_lib.models import VLM, GPTConfig, ViT, ViTConfig, VLMConfig
from course_lib.train import TrainConfig, train
from course_lib.train.losses import caption_loss, cross_entropy
from course_lib.tune.completions import completion_examples


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("samples", [16000, 4321, 201])
def test_whisper_gives_the_same(n_mels, samples):
    torch.manual_seed(0)
    sounds = torch.randn(3, samples) * torch.tensor([[0.0], [1e-3], [0.3]])
    sounds[2, : samples // 2] = 0  # quieter than the loudest by more than there is room for
    theirs = WhisperFeatureExtractor(feature_size=n_mels)
    expected = theirs(list(sounds.numpy()), sampling_rate=16000, padding="do_not_pad", return_tensors="pt")
    ours = log_mel(sounds, 16000, SpectrogramConfig(n_mels=n_mels))
    # The same operations of torch on filters that differ by a rounding: in a logarithm of base ten, over four, of
    # numbers with 24 bits.
    torch.testing.assert_close(ours, expected["input_features"], rtol=0, atol=1e-5)
    torch.testing.assert_close(log_mel(sounds[1], 16000, SpectrogramConfig(n_mels=n_mels)), ours[1])
    assert ours.shape == (3, n_mels, samples // 160)


@settings(deadline=None)
@given(
    rate=st.sampled_from([4000, 8000, 11025, 16000, 44100]),
    n_fft=st.integers(100, 600),
    hop=st.integers(20, 300),
    n_mels=st.integers(1, 12),
    seed=st.integers(0, 2**31),
    samples=st.integers(350, 2000),
)
def test_any_setting_by_numpy(rate, n_fft, hop, n_mels, seed, samples):
    config = SpectrogramConfig(rate, n_fft, hop, n_mels)
    filters = mel_filter_bank(1 + n_fft // 2, n_mels, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(mel_filters(config).T, torch.from_numpy(filters).float(), rtol=1e-5, atol=1e-9)
    sound = np.random.default_rng(seed).normal(size=samples)
    expected = spectrogram(
        sound, window_function(n_fft, "hann"), n_fft, hop, power=2.0, mel_filters=filters, log_mel="log10"
    )[:, : samples // hop]
    expected = np.maximum(expected, expected.max() - 8) / 4 + 1
    ours = log_mel(torch.from_numpy(sound), rate, config)
    # Their spectrogram is in float32 after the Fourier transform; in ours the filters are.
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_the_mel_scale_and_its_inverse():
    for hertz in (0.0, 100.0, 999.0, 1000.0, 1001.0, 8000.0):
        assert mel_to_hz(torch.tensor(hz_to_mel(hertz), dtype=torch.float64)).item() == pytest.approx(hertz)
    # Two closed forms: 200/3 Hz a mel below 1000 Hz, and 27 mels for a factor of 6.4 above.
    assert hz_to_mel(200.0) == 3.0
    assert hz_to_mel(6400.0) == 42.0


def test_a_tone_is_loud_in_its_band():
    time = torch.arange(16000) / 16000
    config = SpectrogramConfig()
    tops = mel_to_hz(torch.linspace(0, hz_to_mel(8000.0), 82))[1:-1]
    for hertz in (300.0, 1000.0, 3000.0):
        loudest = log_mel((2 * torch.pi * hertz * time).sin(), 16000, config).mean(dim=1).argmax()
        assert abs(tops[loudest] - hertz) <= (tops[1:] - tops[:-1]).max()
        assert (tops - hertz).abs().argsort()[:2].eq(loudest).any()


def test_silence_and_loudness():
    quiet, loud = log_mel(torch.zeros(1000), 16000), log_mel(torch.randn(1000), 16000)
    assert torch.equal(quiet, torch.full((80, 6), -1.5))  # log10 of the floor 1e-10, over 4, plus 1
    assert loud.amax() - loud.amin() <= 2
    torch.testing.assert_close(
        log_mel(10 * torch.ones(2000).cumsum(0).sin(), 16000).amax(),
        log_mel(torch.ones(2000).cumsum(0).sin(), 16000).amax() + 0.5,
    )  # 100 times the power


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (torch.zeros(1000), 44100, r"44100 samples a second, but .* for 16000; .*resample_poly\(sound, 16000, 44100\)"),
        (torch.zeros(1000, dtype=torch.int16), 16000, r"the sound is torch.int16; .*sound\.float\(\) / 32768"),
        (torch.zeros(0), 16000, "the sound is empty, but a spectrogram needs 201"),
        (torch.zeros(2, 200), 16000, "the sound has 200 samples, but a spectrogram needs 201"),
    ],
)
def test_what_is_no_sound(sound, rate, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(log_mel)(sound, rate)  # as outside of tests, where signatures check nothing


def test_a_sound_of_no_frame():
    with pytest.raises(ValueError, match="the sound has 499 samples, but a spectrogram needs 500"):
        log_mel(torch.zeros(499), 16000, SpectrogramConfig(hop=500))
    assert log_mel(torch.zeros(500), 16000, SpectrogramConfig(hop=500)).shape == (80, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hop": 0}, "hop=0 must be a whole number"),
        ({"n_mels": 200}, "n_mels=200 bands are too narrow for windows of n_fft=400 samples"),
    ],
)
def test_spectrograms_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        SpectrogramConfig(**changes)


# Learning to hear

HEAR = SpectrogramConfig(rate=16000, n_fft=512, hop=256, n_mels=32)
WORLD = Sounds(samples=6144)
SHAPE = {
    "image_size": 32,
    "image_width": 24,
    "patch_size": 8,
    "channels": 1,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
}


def heard(n, seed):
    batch = WORLD.sample(n, torch.Generator().manual_seed(seed))
    return log_mel(batch.sounds, WORLD.rate, HEAR)[:, None], batch.kind


def learned(images, labels, seed=0):
    """A ViT that was trained on these."""
    torch.manual_seed(seed)
    model = ViT(ViTConfig(**SHAPE, n_classes=4))

    def batch(generator):
        chosen = torch.randint(len(labels), (32,), generator=generator)
        return images[chosen], labels[chosen]

    train(
        model,
        batch,
        lambda model, b: cross_entropy(model(b[0]), b[1]),
        TrainConfig(steps=120, lr=4e-3, warmup_steps=10),
    )
    return model.eval()


@torch.no_grad()
def accuracy(model, images, labels):
    return (model(images).argmax(dim=-1) == labels).float().mean().item()


def test_it_learns_what_it_hears_and_its_controls_do_not():
    images, kinds = heard(1200, 0)
    unheard, true = heard(600, 1)
    five_errors = 5 * (0.25 * 0.75 / 600) ** 0.5
    assert accuracy(learned(images, kinds), unheard, true) > 0.95
    shuffled = kinds[torch.randperm(len(kinds), generator=torch.Generator().manual_seed(2))]
    assert abs(accuracy(learned(images, shuffled), unheard, true) - WORLD.chance) < five_errors

    def timeless(x):
        return x.mean(dim=-1, keepdim=True).expand_as(x)

    score = accuracy(learned(timeless(images), kinds), timeless(unheard), true)
    assert WORLD.chance + five_errors < score < WORLD.timeless_ceiling + five_errors


def test_a_language_model_hears(tmp_path):
    """A spectrogram is an image of one channel, so it passes through the same tower, projector and decoder."""
    torch.manual_seed(0)
    model = VLM(VLMConfig(ViTConfig(**SHAPE), GPTConfig(9, 32, 32, 1, 4), 8))
    assert len(model.vision.position.weight) == 1 + 4 * 3  # the class token, and patches of 8 in 32 by 24
    sounds, kinds = heard(2, 3)
    texts = completion_examples([[8] * 12 + [1]] * 2, [[2 + int(kind)] for kind in kinds], 0).all()
    ids, targets = texts.inputs, texts.targets
    caption_loss(model, (ids, targets, sounds)).mean.backward()
    assert model.vision.patches.weight.grad.abs().max() > 0
    save_pretrained(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["vision"]["image_width"] == 24
    again = from_pretrained(tmp_path)
    assert torch.equal(again(ids, sounds), model.eval()(ids, sounds))
    with pytest.raises(ValueError, match="32 by 20 pixels, but the model reads 32 by 24"):
        model(ids, sounds[..., :20])

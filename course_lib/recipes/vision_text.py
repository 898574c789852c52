"""Vision-language training: a CLIP on emoji and captions, then a decoder that answers questions about images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_lib.data.corpora import emoji
from course_lib.data.worlds.scenes import EMPTY
from course_lib.files import write_text
from course_lib.interop import save_pretrained
from course_lib.models import VLM, BagCLIP, BagCLIPConfig, GPTConfig, ImageEncoderConfig, VLMConfig
from course_lib.models.gpt import LLAMA_STYLE
from course_lib.recipes import image_captions, scene_questions
from course_lib.recipes.image_captions import Pairs
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.recipes.scene_questions import Asked, FeatureBank, Questions
from course_lib.train import Loss, TrainConfig
from course_lib.train.losses import contrastive_loss

# The strength of the augmentation. On the validation split, recall at 1 for the new vendor's images was 0.41 at
# strength 1, 0.37 at 1.5 and 0.33 at 2 (600 steps, one seed).
STRENGTH = 1.0


@dataclass(frozen=True)
class VisionText:
    """The models, training and data of a run.

    Attributes:
        image_encoder: Settings of the image encoder; with `tower`, a model of timm replaces the course's own.
        decoder: Settings of the decoder's GPTConfig.
        training: Training settings by the name of the stage.
        batch: The number of pairs, questions or tiles in a step, by the name of the stage.
        languages: The languages of the captions.
        split: "validation" for choosing a recipe, "test" for results to report, so that nothing is chosen by them; see
            `course_lib.data.corpora.emoji_split.split_emoji`.
        more_artists: Whether to train on the images of four more vendors; see `course_lib.data.corpora.emoji`.
    """

    image_encoder: ImageEncoderConfig
    decoder: dict[str, Any]
    training: dict[str, TrainConfig]
    batch: dict[str, int]
    languages: tuple[str, ...] = ("en",)
    split: str = "test"
    more_artists: bool = False


PRESETS = {
    "cpu": VisionText(
        ImageEncoderConfig(32, width=32, d_model=256),
        {"d_model": 128, "n_layers": 2, "n_heads": 4, "d_ff": 384, **LLAMA_STYLE},
        training={
            "contrastive": TrainConfig(600, lr=4e-3, min_lr_ratio=0.0, weight_decay=0.5, max_grad_norm=None),
            "text": TrainConfig(800, lr=1.5e-3, min_lr_ratio=0.05, weight_decay=0.05),
            "align": TrainConfig(1000, lr=2e-3, warmup_steps=1, min_lr_ratio=0.0, weight_decay=0.05),
            "pictures": TrainConfig(300, lr=1e-3, min_lr_ratio=0.05, weight_decay=0.05),
        },
        batch={"contrastive": 256, "text": 128, "align": 256, "pictures": 128},
    ),
    # With three more artists recall at 1 on the validation artist rose from 0.41 to 0.50 and 0.47 (seeds 0 and 1), with
    # captions in five languages it fell to 0.40 (seed 0; all 600 steps on the validation split).
    "hour": VisionText(
        ImageEncoderConfig(32, width=48, d_model=256),
        {"d_model": 192, "n_layers": 3, "n_heads": 4, "d_ff": 512, **LLAMA_STYLE},
        training={
            "contrastive": TrainConfig(3000, lr=4e-3, min_lr_ratio=0.0, weight_decay=0.5, max_grad_norm=None),
            "text": TrainConfig(3000, lr=1e-3, warmup_steps=100, min_lr_ratio=0.05, weight_decay=0.05),
            "align": TrainConfig(2000, lr=2e-3, warmup_steps=1, min_lr_ratio=0.0, weight_decay=0.05),
            "pictures": TrainConfig(2000, lr=1e-3, min_lr_ratio=0.05, weight_decay=0.05),
        },
        batch={"contrastive": 256, "text": 128, "align": 256, "pictures": 128},
        more_artists=True,
    ),
    "gpu": VisionText(
        ImageEncoderConfig(64, width=64, d_model=512),
        {"d_model": 384, "n_layers": 6, "n_heads": 6, "d_ff": 1024, **LLAMA_STYLE},
        training={
            "contrastive": TrainConfig(4000, lr=2e-3, min_lr_ratio=0.0, weight_decay=0.5, precision="auto"),
            "text": TrainConfig(4000, lr=1e-3, min_lr_ratio=0.05, weight_decay=0.05, precision="auto"),
            "align": TrainConfig(3000, lr=1e-3, min_lr_ratio=0.0, weight_decay=0.05, precision="auto"),
            "pictures": TrainConfig(3000, lr=5e-4, min_lr_ratio=0.05, weight_decay=0.05, precision="auto"),
        },
        batch={"contrastive": 1024, "text": 256, "align": 1024, "pictures": 256},
        languages=("en", "de", "es", "fr", "it"),
    ),
}


def vision_text(run: Run) -> Results:
    """Train both models in five stages; OUT/model answers questions, OUT/clip finds captions.

    The stages, each in a folder of its own: `contrastive` trains a CLIP on images and captions; `shuffled` is the same
    with the captions of other concepts, as a control; `text` trains the decoder on scenes that are described by words;
    `align` trains the projector to map images to the embeddings of these words; and `pictures` trains both on scenes of
    images. The image encoder is frozen after `contrastive`. All questions are about training concepts, so only the
    vendor of the held-out images is new to the model. The run's number of steps is that of each stage.
    """
    plan = run.choose(PRESETS)
    run.claim_folder(plan)
    drawings = emoji.load_emoji(plan.image_encoder.image_size, plan.more_artists)
    data = image_captions.pairs(drawings, plan.split, plan.languages, run.seed, run.device)
    clip, values = _train_clip(run, plan, data)
    task = scene_questions.questions(drawings, data.split)
    model, measured = _train_vlm(run, plan, data, task, clip)
    if run.estimating:
        return write_results(run, {}, {})
    save_pretrained(clip, run.out / "clip")
    write_text(run.out / "clip" / "tokenizer.json", data.tokenizer.to_str(pretty=True))
    save_pretrained(model, run.out / "model")
    write_text(run.out / "model" / "tokenizer.json", task.tokenizer.to_str(pretty=True))
    values = {f"vision-text.{name}": value for name, value in (values | measured).items()}
    return write_results(run, values, _controls(values), _samples(run, data, task, model))


def prepare() -> list[Path]:
    """Create the files of emoji images that this recipe reads, for all presets.

    Returns:
        The paths of the files.

    Raises:
        DataError: If the packages of emoji cannot be fetched.
    """
    files = []
    for size, more in sorted({(plan.image_encoder.image_size, plan.more_artists) for plan in PRESETS.values()}):
        emoji.load_emoji(size, more)
        files += emoji.emoji_files(size, more)
    return list(dict.fromkeys(files))


def _train_clip(run: Run, plan: VisionText, data: Pairs) -> tuple[BagCLIP, dict[str, float]]:
    """Train the CLIP and its control.

    Returns:
        The CLIP, and the scores of both and of the baselines.
    """
    retrieval = image_captions.retrieval
    values = _measured(run, "pixels", image_captions.pixel_baseline, data)
    values |= _measured(run, "untrained", retrieval, _new_clip(run, plan, data), data)
    shuffled = data.shuffled(run.seed)
    control = _train_contrastive(run, plan, shuffled, "shuffled")
    values |= _measured(run, "shuffled", retrieval, control, data)
    values |= _measured(run, "shuffled", lambda: {"own-captions-r1": retrieval(control, shuffled)["new-vendor-r1"]})
    model = _train_contrastive(run, plan, data, "contrastive")
    return model, values | _measured(run, "contrastive", retrieval, model, data)


def _new_clip(run: Run, plan: VisionText, data: Pairs) -> BagCLIP:
    torch.manual_seed(run.seed)
    return BagCLIP(BagCLIPConfig(plan.image_encoder, data.tokenizer.get_vocab_size())).to(run.device)


def _train_contrastive(run: Run, plan: VisionText, data: Pairs, stage: str) -> BagCLIP:
    model = _new_clip(run, plan, data)
    batches = partial(data.batch, plan.batch["contrastive"], STRENGTH)
    run.train(model, batches, contrastive_loss, plan.training["contrastive"], stage, f"vision-text.{stage}")
    return model


def _measured(run: Run, name: str, measure: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Measure a trained model, and put `name` before the keys; measure nothing in an estimate."""
    if run.estimating:
        return {}
    return {f"{name}.{what}": value for what, value in measure(*arguments).items()}


def vlm(plan: VisionText, task: Questions, device: torch.device) -> VLM:
    """Build the model that answers questions, untrained."""
    decoder = GPTConfig(task.tokenizer.get_vocab_size(), **plan.decoder)
    return VLM(VLMConfig(plan.image_encoder, decoder, task.image_token, projector_norm=True)).to(device)


def _train_vlm(run: Run, plan: VisionText, data: Pairs, task: Questions, clip: BagCLIP) -> tuple[VLM, dict[str, float]]:
    """Train the vision-language model.

    Returns:
        The model, and its accuracy on seen vendors, on the new vendor and in the controls.
    """
    torch.manual_seed(run.seed)
    model = vlm(plan, task, run.device)
    model.vision.load_state_dict(clip.vision.state_dict())
    accuracy, train = scene_questions.accuracy, data.split.train.vendors
    values = {f"chance.{kind}": task.scenes.chance(kind) for kind in scene_questions.KINDS}
    _train_text(run, plan, task, model)
    values |= _measured(run, "text", accuracy, model, task, None)

    augmented = _feature_bank(run, model, task, data.images, train, STRENGTH, run.seed)
    _train_projector(run, plan, task, model, augmented)
    seen = _feature_bank(run, model, task, data.images, train)
    values |= _measured(run, "align.seen", accuracy, model, task, seen)

    _train_pictures(run, plan, task, model, augmented)
    new = _feature_bank(run, model, task, data.images, data.split.new_vendor.vendors)
    values |= _measured(run, "pictures.seen", accuracy, model, task, seen)
    values |= _measured(run, "pictures.new-vendor", accuracy, model, task, new)
    values |= _measured(run, "pictures.shuffled", accuracy, model, task, seen, "shuffled")
    values |= _measured(run, "pictures.blind", accuracy, model, task, seen, "blind")
    return model, values


def _train_text(run: Run, plan: VisionText, task: Questions, model: VLM) -> None:
    """Train the decoder on scenes that are described by words."""

    def loss(model: Any, asked: Asked) -> Loss:
        return scene_questions.answer_loss(model, asked, scene_questions.word_vectors(model, task, asked[0]))

    train_only(model, "decoder")
    questions = partial(task.batch, plan.batch["text"])
    run.train(model, questions, loss, plan.training["text"], "text", "vision-text.text")


def _train_projector(run: Run, plan: VisionText, task: Questions, model: VLM, augmented: FeatureBank) -> None:
    """Train the projector to map images to the embeddings of their words."""

    def tiles(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        which = torch.randint(len(task.words), (plan.batch["align"],), generator=generator)
        return which, scene_questions.draw_features(augmented, which, generator)

    def loss(model: Any, drawn: tuple[Tensor, Tensor]) -> Tensor:
        return scene_questions.naming_loss(model, task, *drawn)

    train_only(model, "projector_norm", "projector")
    run.train(model, tiles, loss, plan.training["align"], "align", "vision-text.align")


def _train_pictures(run: Run, plan: VisionText, task: Questions, model: VLM, augmented: FeatureBank) -> None:
    """Train projector and decoder on scenes of images."""

    def scenes(generator: torch.Generator) -> tuple[Asked, Tensor]:
        asked = task.batch(plan.batch["pictures"], generator)
        return asked, scene_questions.draw_features(augmented, asked[0].flatten(), generator)

    def loss(model: Any, drawn: tuple[Asked, Tensor]) -> Loss:
        asked, features = drawn
        return scene_questions.answer_loss(model, asked, model.project(features[:, None]))

    train_only(model, "projector_norm", "projector", "decoder")
    run.train(model, scenes, loss, plan.training["pictures"], "pictures", "vision-text.pictures")


def _feature_bank(
    run: Run, model: VLM, task: Questions, images: Tensor, vendors: Tensor, *augmented: Any
) -> FeatureBank:
    """Compute the features of images; in an estimate zeros, since what they hold changes no cost."""
    if run.estimating:
        (one,) = model.encode_images(images[0, :1].float() / 255)[0].detach()
        return torch.zeros(1, len(vendors), len(task.words), len(one), device=one.device)
    return scene_questions.feature_bank(model, task, images, vendors, *augmented)


def train_only(model: VLM, *parts: str) -> None:
    """Freeze all parts of the model except these."""
    for name, part in model.named_children():
        part.requires_grad_(name in parts)


def _samples(run: Run, data: Pairs, task: Questions, model: VLM, n: int = 8) -> list[tuple[str, str]]:
    """Ask about pictures of the new vendor; what they show, and whether the answer is right, stands beside it."""
    batch = task.scenes.sample(n, torch.Generator().manual_seed(run.seed), scene_questions.KINDS)
    vendors = torch.full_like(batch.cells, int(data.split.new_vendor.vendors[0]))
    pictures = task.scenes.images(batch.cells, vendors, data.images.cpu()[:, task.concepts])
    found = []
    for cells, picture, asked, right in zip(
        batch.cells.tolist(), pictures, task.scenes.questions(batch), task.scenes.answers(batch), strict=True
    ):
        shown = ", ".join("nothing" if cell == EMPTY else task.scenes.names[cell] for cell in cells)
        said = scene_questions.answer(model, task.tokenizer, picture, asked)
        found.append((f"[{shown}] {asked}", said if said == right else f"{said} (wrong: {right})"))
    return found


def _controls(values: dict[str, float]) -> dict[str, str]:
    """Return the key of each claim with the key of the control that could have refuted it."""
    control_of = {"contrastive": "pixels", "pictures.seen": "pictures.blind", "pictures.new-vendor": "pictures.blind"}
    found = {}
    for key in values:
        model, _, measure = key.removeprefix("vision-text.").rpartition(".")
        if model in control_of and (control := f"vision-text.{control_of[model]}.{measure}") in values:
            found[key] = control
    return found

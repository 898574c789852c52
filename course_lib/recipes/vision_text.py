"""A model that sees: pictures and captions in one space, then a decoder that answers questions about pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.data.corpora import emoji
from course_lib.interop import save_pretrained
from course_lib.models import VLM, BagCLIP, BagCLIPConfig, GPTConfig, ImageEncoderConfig, VLMConfig
from course_lib.recipes import picture_captions, scene_questions
from course_lib.recipes.language import LLAMA
from course_lib.recipes.picture_captions import Pairs
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, Stopped
from course_lib.recipes.scene_questions import Questions
from course_lib.train import Loss, RunFolder, TrainConfig, contrastive_loss, train

# Of the augmentation. On the validation split names of the new vendor's pictures were found first in 0.41 of all cases
# at 1, in 0.37 at 1.5 and 0.33 at 2 (600 steps, one seed).
STRENGTH = 1.0
Train = Callable[[str, nn.Module, Callable[[torch.Generator], Any], Any], None]


@dataclass(frozen=True)
class VisionText:
    """What a run builds, reads and does, stage by stage; batch: pairs, questions or tiles to a step.

    eyes: with `tower` a model of timm takes the place of the course's own. split: "validation" to choose a recipe, and
    "test" for the numbers to report, which then nothing was chosen by; see emoji_split.split.
    """

    eyes: ImageEncoderConfig
    decoder: dict[str, Any]
    training: dict[str, TrainConfig]
    batch: dict[str, int]
    languages: tuple[str, ...] = ("en",)
    split: str = "test"


PRESETS = {
    "cpu": VisionText(
        ImageEncoderConfig(32, width=32, d_model=256),
        {"d_model": 128, "n_layers": 2, "n_heads": 4, "d_ff": 384, **LLAMA},
        training={
            "contrastive": TrainConfig(600, lr=4e-3, min_lr=0.0, weight_decay=0.5, clip=None),
            "text": TrainConfig(800, lr=1.5e-3, min_lr=0.05, weight_decay=0.05),
            "align": TrainConfig(1000, lr=2e-3, warmup=1, min_lr=0.0, weight_decay=0.05),
            "pictures": TrainConfig(300, lr=1e-3, min_lr=0.05, weight_decay=0.05),
        },
        batch={"contrastive": 256, "text": 128, "align": 256, "pictures": 128},
    ),
    "gpu": VisionText(
        ImageEncoderConfig(64, width=64, d_model=512),
        {"d_model": 384, "n_layers": 6, "n_heads": 6, "d_ff": 1024, **LLAMA},
        training={
            "contrastive": TrainConfig(4000, lr=2e-3, min_lr=0.0, weight_decay=0.5, precision="auto"),
            "text": TrainConfig(4000, lr=1e-3, min_lr=0.05, weight_decay=0.05, precision="auto"),
            "align": TrainConfig(3000, lr=1e-3, min_lr=0.0, weight_decay=0.05, precision="auto"),
            "pictures": TrainConfig(3000, lr=5e-4, min_lr=0.05, weight_decay=0.05, precision="auto"),
        },
        batch={"contrastive": 1024, "text": 256, "align": 1024, "pictures": 256},
        languages=("en", "de", "es", "fr", "it"),
    ),
}


def vision_text(run: Run) -> Results:
    """Train both models in five stages; OUT/model answers questions, OUT/clip finds captions.

    The stages, each in a folder of its own: `contrastive` learns which caption belongs to which picture, `shuffled` is
    the same with every concept's captions exchanged, as a control; `text` learns to answer about scenes that are given
    as words; `align` turns pictures into such words, and `pictures` learns to answer about these. The image encoder
    stays as `contrastive` leaves it. Of questions only concepts that are learned can be the answer, so what is new in
    them is the vendor. The run's number of steps is that of each stage.
    """
    plan = _plan(run)
    run.claim_folder(plan)
    drawings = emoji.load_emoji(plan.eyes.image_size)
    data = picture_captions.pairs(drawings, plan.split, plan.languages, run.seed, run.device)

    def train_stage(stage: str, model: nn.Module, batches: Callable[[torch.Generator], Any], loss: Any) -> None:
        config = plan.training["contrastive" if stage == "shuffled" else stage]
        folder = RunFolder(
            run.out / stage, run.resume, every=max(1, config.steps // 6), again=f"run: {run.resume_command}"
        )
        if train(model, batches, loss, config, label=f"vision-text.{stage}", folder=folder).interrupted:
            raise Stopped
        model.eval()

    clip, values = _contrastive(plan, data, run.seed, train_stage)
    save_pretrained(clip, run.out / "clip")
    data.tokenizer.save(str(run.out / "clip" / "tokenizer.json"))
    task = scene_questions.questions(drawings, data.split)
    model, measured = _questions(plan, data, task, clip, run.seed, train_stage)
    save_pretrained(model, run.out / "model")
    task.tokenizer.save(str(run.out / "model" / "tokenizer.json"))
    values = {f"vision-text.{name}": value for name, value in (values | measured).items()}
    return write_results(run, values, _controls(values))


def _plan(run: Run) -> VisionText:
    plan = run.pick(PRESETS)
    training = {
        stage: replace(config, seed=run.seed, steps=run.steps or config.steps)
        for stage, config in plan.training.items()
    }
    return replace(plan, training=training)


def prepare() -> list[Path]:
    """Draw what this recipe reads, for all presets; the files. Raises DataError if the packages cannot be fetched."""
    files = []
    for size in sorted({plan.eyes.image_size for plan in PRESETS.values()}):
        emoji.load_emoji(size)
        files += emoji.emoji_files(size)
    return list(dict.fromkeys(files))


def vlm(plan: VisionText, task: Questions, where: torch.device) -> VLM:
    """The model that answers, before it has learned or seen anything."""
    decoder = GPTConfig(task.tokenizer.get_vocab_size(), **plan.decoder)
    return VLM(VLMConfig(plan.eyes, decoder, task.image_token, projector_norm=True)).to(where)


def _contrastive(plan: VisionText, data: Pairs, seed: int, train_stage: Train) -> tuple[BagCLIP, dict[str, float]]:
    """The model that finds captions, and what it, its controls and its baseline without learning score."""
    values = {f"pixels.{name}": value for name, value in picture_captions.by_pixels(data).items()}
    config = BagCLIPConfig(plan.eyes, data.tokenizer.get_vocab_size())
    models = {}
    for stage, some in (("shuffled", data.shuffled(seed)), ("contrastive", data)):
        torch.manual_seed(seed)
        models[stage] = model = BagCLIP(config).to(data.pictures.device)
        if stage == "shuffled":
            values |= {f"untrained.{name}": value for name, value in picture_captions.retrieval(model, data).items()}
        train_stage(stage, model, _pair_batches(some, plan.batch["contrastive"]), contrastive_loss)
        values |= {f"{stage}.{name}": value for name, value in picture_captions.retrieval(model, data).items()}
    own_captions = picture_captions.retrieval(models["shuffled"], data.shuffled(seed))
    values["shuffled.own-captions-r1"] = own_captions["new-vendor-r1"]
    return models["contrastive"], values


def _pair_batches(data: Pairs, size: int) -> Callable[[torch.Generator], Any]:
    return lambda generator: data.batch(size, STRENGTH, generator)


def _questions(
    plan: VisionText, data: Pairs, task: Questions, clip: BagCLIP, seed: int, train_stage: Train
) -> tuple[VLM, dict[str, float]]:
    """The model that answers, and what it scores on pictures of learned vendors and of the new one, with controls."""
    torch.manual_seed(seed)
    model = vlm(plan, task, data.pictures.device)
    model.vision.load_state_dict(clip.vision.state_dict())
    split, batch = data.split, plan.batch

    def read(model: Any, asked: scene_questions.Asked) -> Loss:
        return scene_questions.answered(model, asked, scene_questions.as_words(model, task, asked[0]))

    _learn(model, "decoder")
    train_stage("text", model, lambda generator: task.batch(batch["text"], generator), read)
    values = {f"chance.{kind}": task.scenes.chance(kind) for kind in scene_questions.KINDS}
    values |= {f"text.{name}": value for name, value in scene_questions.accuracy(model, task, None).items()}

    learned = scene_questions.bank(model, task, data.pictures, split.train.vendors, STRENGTH, seed)

    def tiles(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        which = torch.randint(len(task.words), (batch["align"],), generator=generator)
        return which, learned.draw(which, generator)

    _learn(model, "projector_norm", "projector")
    train_stage("align", model, tiles, lambda model, drawn: scene_questions.named(model, task, *drawn))

    seen = scene_questions.bank(model, task, data.pictures, split.train.vendors)
    new = scene_questions.bank(model, task, data.pictures, split.new_vendor.vendors)
    values |= {f"align.seen.{name}": value for name, value in scene_questions.accuracy(model, task, seen).items()}

    def looked_at(generator: torch.Generator) -> tuple[scene_questions.Asked, Tensor]:
        asked = task.batch(batch["pictures"], generator)
        return asked, learned.draw(asked[0].flatten(), generator)

    def see(model: Any, drawn: tuple[scene_questions.Asked, Tensor]) -> Loss:
        asked, features = drawn
        return scene_questions.answered(model, asked, model.project(features[:, None]))

    _learn(model, "projector_norm", "projector", "decoder")
    train_stage("pictures", model, looked_at, see)
    for name, eyes, how in (("seen", seen, ""), ("new-vendor", new, ""), ("shuffled", seen, "shuffled"),
                            ("blind", seen, "blind")):  # fmt: skip
        found = scene_questions.accuracy(model, task, eyes, how)
        values |= {f"pictures.{name}.{kind}": value for kind, value in found.items()}
    return model, values


def _learn(model: VLM, *parts: str) -> None:
    """From now on only these parts change."""
    for name, part in model.named_children():
        part.requires_grad_(name in parts)


def _controls(values: dict[str, float]) -> dict[str, str]:
    """For the key of a claim that of the number which could have refuted it."""
    found = {}
    for key in values:
        claim = key.removeprefix("vision-text.")
        control = claim.replace("contrastive.", "pixels.")
        for eyes in ("seen", "new-vendor"):
            control = control.replace(f"pictures.{eyes}.", "pictures.blind.")
        if control != claim and f"vision-text.{control}" in values:
            found[key] = f"vision-text.{control}"
    return found

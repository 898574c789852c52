"""The learning rates of the lab on vision and text: each stage is trained at several, and has its own best.

    course train vision-rates --preset cpu --seed 25     # about 45 CPU-minutes

The stages are those of `labs/capstone_vision_text`, each trained for as long as there, and each on top of those before
it at the rates that were chosen for them. Two artists are learned. The rates are chosen by the third, Noto, whose
drawings are held out for validation; the test artist is looked at by nobody. (The lab also keeps things from some of
the places and hides some drawings, which these trials do not.) A grid grows until its best rate is not at an end.

The share that goes wrong chooses. The loss on the same new questions is kept beside it, since the two may disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_lib.data.corpora.emoji import load_emoji
from course_lib.models import VLM, BagCLIP, BagCLIPConfig
from course_lib.recipes import image_captions, scene_questions
from course_lib.recipes.rates import RateTrial, rate_text, search_rate, write_rates
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, seeds_of
from course_lib.recipes.scene_questions import Asked, FeatureBank
from course_lib.recipes.vision_text import PRESETS as FULL
from course_lib.recipes.vision_text import STRENGTH, VisionText, train_only, vlm
from course_lib.train import Loss, train
from course_lib.train.losses import contrastive_loss

LAB, COMPARISON = "capstone_vision_text", "stages"
SEEDS = 4  # of a run of the recipe; from seed 25 it trains from 100 to 103, which no replication has
STEPS = {"contrastive": 350, "text": 350, "align": 800, "pictures": 200}  # of the lab's stages
PRESETS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "cpu": {
        "contrastive": (0.25e-3, 1e-3, 4e-3, 16e-3),  # the lab tries the upper three in short runs
        "text": (0.75e-3, 1.5e-3, 3e-3, 6e-3),
        "align": (0.125e-3, 0.25e-3, 0.5e-3, 1e-3, 2e-3, 4e-3),
        "pictures": (0.5e-3, 1e-3, 2e-3, 4e-3),
    }
}
MEASURE = (
    "contrastive: share of Noto's pictures that do not find their name first; text: share of wrong answers about "
    "scenes in words; align: share of Noto's pictures that are not nearest to their word; pictures: share of wrong "
    "answers about scenes of Noto's pictures; told beside them: the loss on such questions, in nats a token"
)


@dataclass(frozen=True)
class Bench:
    """What the stages learn from, from one seed."""

    plan: VisionText
    data: image_captions.Pairs
    task: scene_questions.Questions
    seed: int

    def train(self, model: Any, batches: Any, loss: Any, stage: str, rate: float) -> Any:
        """Train a stage at a rate, for as long as the lab does."""
        config = replace(self.plan.training[stage], lr=rate, seed=self.seed)
        train(model, batches, loss, config, label=f"{stage} {rate:g}")
        return model.eval()

    def bank(self, model: VLM, *augmented: Any) -> FeatureBank:
        """Return what the eyes make of the learned drawings, augmented, or without arguments of Noto's."""
        vendors = (self.data.split.train if augmented else self.data.split.new_vendor).vendors
        return scene_questions.feature_bank(model, self.task, self.data.images, vendors, *augmented)

    def wrong_answers(self, model: VLM, images: FeatureBank | None) -> float:
        """Return the share of wrong answers about new scenes, the mean over the kinds; None has words for pictures."""
        right = scene_questions.accuracy(model, self.task, images, seed=10**6 + self.seed)
        return 1 - mean(right.values())

    @torch.no_grad()
    def mean_loss(self, model: VLM, loss: Callable[[Any, Any], Any], draw: Callable[[torch.Generator], Any]) -> float:
        """Return the loss, in nats a token, on 30 batches that are like those of training, of other questions."""
        generator = torch.Generator().manual_seed(10**6 + self.seed)
        losses = [loss(model, draw(generator)) for _ in range(30)]
        return mean(float(x if isinstance(x, Tensor) else x.mean) for x in losses)


def _eyes(bench: Bench, before: None, rate: float) -> BagCLIP:
    torch.manual_seed(bench.seed)
    model = BagCLIP(BagCLIPConfig(bench.plan.image_encoder, bench.data.tokenizer.get_vocab_size()))
    model.to(bench.data.images.device)
    batches = partial(bench.data.batch, bench.plan.batch["contrastive"], STRENGTH)
    return bench.train(model, batches, contrastive_loss, "contrastive", rate)


def _eyes_miss(bench: Bench, clip: BagCLIP) -> float:
    return 1 - image_captions.retrieval(clip, bench.data)["new-vendor-r1"]


def _about_words(bench: Bench, model: VLM, asked: Asked) -> Loss:
    return scene_questions.answer_loss(model, asked, scene_questions.word_vectors(model, bench.task, asked[0]))


def _decoder(bench: Bench, clip: BagCLIP, rate: float) -> VLM:
    torch.manual_seed(bench.seed)
    model = vlm(bench.plan, bench.task, bench.data.images.device)
    model.vision.load_state_dict(clip.vision.state_dict())
    train_only(model, "decoder")
    batches = partial(bench.task.batch, bench.plan.batch["text"])
    return bench.train(model, batches, partial(_about_words, bench), "text", rate)


def _decoder_miss(bench: Bench, model: VLM) -> float:
    return bench.wrong_answers(model, None)


def _decoder_loss(bench: Bench, model: VLM) -> float:
    return bench.mean_loss(model, partial(_about_words, bench), partial(bench.task.batch, bench.plan.batch["text"]))


def _tiles(bench: Bench, bank: FeatureBank, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    which = torch.randint(len(bench.task.words), (bench.plan.batch["align"],), generator=generator)
    return which, scene_questions.draw_features(bank, which, generator)


def _naming(bench: Bench, model: VLM, drawn: tuple[Tensor, Tensor]) -> Tensor:
    return scene_questions.naming_loss(model, bench.task, *drawn)


def _projector(bench: Bench, before: VLM, rate: float) -> VLM:
    model = deepcopy(before)
    train_only(model, "projector_norm", "projector")
    tiles = partial(_tiles, bench, bench.bank(model, STRENGTH, bench.seed))
    return bench.train(model, tiles, partial(_naming, bench), "align", rate)


@torch.no_grad()
def _projector_miss(bench: Bench, model: VLM) -> float:
    (pictures,) = bench.bank(model)[0, :, :-1]  # Noto's, and not the empty tile
    named = scene_questions.naming_logits(model, bench.task, pictures).argmax(dim=-1).cpu()
    return (named != torch.arange(len(named))).double().mean().item()


def _projector_loss(bench: Bench, model: VLM) -> float:
    return bench.mean_loss(model, partial(_naming, bench), partial(_tiles, bench, bench.bank(model)))


def _scenes(bench: Bench, bank: FeatureBank, generator: torch.Generator) -> tuple[Asked, Tensor]:
    asked = bench.task.batch(bench.plan.batch["pictures"], generator)
    return asked, scene_questions.draw_features(bank, asked[0].flatten(), generator)


def _about_pictures(model: VLM, drawn: tuple[Asked, Tensor]) -> Loss:
    asked, features = drawn
    return scene_questions.answer_loss(model, asked, model.project(features[:, None]))


def _pictures(bench: Bench, before: VLM, rate: float) -> VLM:
    model = deepcopy(before)
    train_only(model, "projector_norm", "projector", "decoder")
    scenes = partial(_scenes, bench, bench.bank(model, STRENGTH, bench.seed))
    return bench.train(model, scenes, _about_pictures, "pictures", rate)


def _pictures_miss(bench: Bench, model: VLM) -> float:
    return bench.wrong_answers(model, bench.bank(model))


def _pictures_loss(bench: Bench, model: VLM) -> float:
    return bench.mean_loss(model, _about_pictures, partial(_scenes, bench, bench.bank(model)))


class Stage(NamedTuple):
    """How a stage learns, from the model of the stage before it, and how well it has learned.

    Attributes:
        learn: Trains the stage at a rate.
        miss: The share that goes wrong: it chooses the rate.
        loss: The loss on new questions, which is only told; None for a stage that answers none.
    """

    learn: Callable[[Bench, Any, float], Any]
    miss: Callable[[Bench, Any], float]
    loss: Callable[[Bench, Any], float] | None = None


STAGES = {
    "contrastive": Stage(_eyes, _eyes_miss),
    "text": Stage(_decoder, _decoder_miss, _decoder_loss),
    "align": Stage(_projector, _projector_miss, _projector_loss),
    "pictures": Stage(_pictures, _pictures_miss, _pictures_loss),
}


def vision_rates(run: Run) -> Results:
    """Train every stage at several rates, on top of those before it at their best; no model is kept."""
    grids, full = run.choose(PRESETS), FULL[run.preset]
    steps = {stage: run.steps or n for stage, n in STEPS.items()}
    training = {stage: replace(config, steps=steps[stage]) for stage, config in full.training.items()}
    plan = replace(full, training=training, split="validation")
    values = run.measured_so_far((plan, grids))
    drawings = load_emoji(plan.image_encoder.image_size)
    benches = []
    for seed in seeds_of(run.seed, SEEDS):
        data = image_captions.pairs(drawings, plan.split, plan.languages, seed, run.device)
        benches.append(Bench(plan, data, scene_questions.questions(drawings, data.split), seed))
    before: list[Callable[[], Any]] = [lambda: None for _ in benches]
    trials = {}
    for stage, grid in grids.items():
        trials[stage], before = _search(run, values, stage, grid, benches, before)
    results = write_results(run, values, {})
    seeds = seeds_of(run.seed, SEEDS)
    write_rates(run, results, LAB, seeds, MEASURE, {COMPARISON: steps}, {COMPARISON: trials})
    return results


def _search(
    run: Run,
    values: dict[str, float],
    stage: str,
    grid: tuple[float, ...],
    benches: list[Bench],
    before: list[Callable[[], Any]],
) -> tuple[RateTrial, list[Callable[[], Any]]]:
    """Train a stage at the rates of a grid that grows.

    Returns:
        The trial, and what gives the models at the best rate to the next stage.
    """
    how, models = STAGES[stage], dict[tuple[float, int], Any]()

    def learned(rate: float, i: int) -> Any:
        if (rate, i) not in models:  # in a run that goes on, what was measured is trained again where it is needed
            models[rate, i] = how.learn(benches[i], before[i](), rate)
        return models[rate, i]

    def key(rate: float, i: int) -> str:
        return f"vision-rates.{stage}.{rate_text(rate)}.{benches[i].seed}"

    def miss(task: tuple[float, int]) -> float:
        return how.miss(benches[task[1]], learned(*task))

    def loss(task: tuple[float, int]) -> float:
        assert how.loss
        return how.loss(benches[task[1]], learned(*task))

    trial = search_rate(run, values, grid, range(len(benches)), key, miss)
    if how.loss:
        told = {f"{key(rate, i)}.loss": (rate, i) for rate in trial.losses for i in range(len(benches))}
        run.measure_each(values, told, loss)
        losses = {rate: [values[f"{key(rate, i)}.loss"] for i in range(len(benches))] for rate in trial.losses}
        trial = replace(trial, told=losses)
    return trial, [partial(learned, trial.chosen, i) for i in range(len(benches))]

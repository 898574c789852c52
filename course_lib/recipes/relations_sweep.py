"""A sweep of one and two heads: how often a layer learns to read two relations at once, at several learning rates.

    course train two-relations      # about 25 CPU-minutes

The task is `TwoRelations`: two questions at one position, one about the value just before, one about the value of an
equal key. Each run trains one small model from one seed, and gives the share of new rows with both answers right.
In training, each earlier place is hidden with probability 0.3. Controls hide nothing. And one head alone is trained for
longer, with as much hidden, and with more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.data.worlds.relations import RelationsBatch, TwoRelations
from course_lib.measure import device as device_of_preset
from course_lib.nn.attention import MultiHeadAttention, causal_mask
from course_lib.nn.feed_forward import FeedForward
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, seeds_of
from course_lib.train import TrainConfig, train

WORLD = TwoRelations(n_pairs=8, n_values=11)
HEADS = (1, 2)
RATES = (1e-3, 2e-3, 4e-3, 8e-3)
MORE_RATES = {"1-patient": (2e-2,)}  # of an arm whose best is at the end of those
HIDE = 0.3  # the probability with which a place is hidden in training
SEEDS = 20  # of a run of the recipe
LEARNED = 0.6  # the share of rows with both answers right from which a model counts as having learned both
Layer = Callable[[int, int], nn.Module]  # from d_model and n_heads; called with x and a mask


class Plan(NamedTuple):
    """The number of training steps, and the number of rows in each."""

    steps: int
    batch: int


PRESETS = {"cpu": Plan(450, 128), "gpu": Plan(2000, 1024)}
PATIENT = {"cpu": Plan(2000, 64), "gpu": Plan(8000, 1024)}


class RelationsArm(NamedTuple):
    """Models that differ in their seeds and learning rates alone."""

    n_heads: int
    hide: float = HIDE
    plans: Mapping[str, Plan] = PRESETS


ARMS = {
    "1": RelationsArm(1),
    "2": RelationsArm(2),
    "1-nothing-hidden": RelationsArm(1, hide=0.0),
    "2-nothing-hidden": RelationsArm(2, hide=0.0),
    "1-patient": RelationsArm(1, plans=PATIENT),
    "1-patient-more-hidden": RelationsArm(1, 0.7, PATIENT),
}
CONTROLS = {"2": "1", "2-nothing-hidden": "1-nothing-hidden", "1-patient-more-hidden": "1-patient"}


class TwoAnswers(nn.Module):
    """One attention layer; two answers at the last position: the value before, and the value of the key.

    Args:
        n_heads: The number of heads.
        layer: Makes the attention layer from d_model and n_heads.
        d_model: The width of the model, which has the same number of parameters with any number of heads.
    """

    def __init__(self, n_heads: int, layer: Layer = MultiHeadAttention, d_model: int = 64) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.keys = nn.Embedding(WORLD.n_pairs + 1, d_model)
        self.values = nn.Embedding(WORLD.n_values + 1, d_model)
        self.places = nn.Parameter(0.1 * torch.randn(WORLD.length, d_model))
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = layer(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, 128)
        self.answers = nn.Linear(d_model, 2 * WORLD.n_values)

    def embed(self, row: RelationsBatch) -> Float[Tensor, "batch position d_model"]:
        """Return what the layer reads: the sum of the embeddings of key, value and place."""
        return self.keys(row.keys) + self.values(row.values) + self.places

    def forward(self, row: RelationsBatch, mask: Bool[Tensor, "*rows query key"]) -> Float[Tensor, "batch 2 values"]:
        """Return the logits of both answers."""
        x = self.embed(row)
        x = (x + self.attention(self.norm1(x), mask))[:, -1]  # both answers are read at the last position
        x = x + self.feed_forward(self.norm2(x))
        return self.answers(x).unflatten(-1, (2, -1))


def learn(
    n_heads: int,
    layer: Layer = MultiHeadAttention,
    *,
    seed: int,
    rate: float = 2e-3,
    plan: Plan = PRESETS["cpu"],
    questions: Sequence[int] = (0, 1),
    hide: float = HIDE,
    device: torch.device | None = None,
) -> TwoAnswers:
    """Train a model from a seed, hiding each earlier position from each row with probability `hide`.

    Args:
        n_heads: The number of heads.
        layer: Makes the attention layer.
        seed: The seed of weights, rows and hidden positions.
        rate: The learning rate.
        plan: The number of steps and the size of a batch.
        questions: What is asked, 0 for the value before and 1 for the value of the key.
        hide: The probability with which a position is hidden in training.
        device: The device; None for that of the chosen preset.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    device = device or device_of_preset()
    torch.manual_seed(seed)
    model = TwoAnswers(n_heads, layer).to(device)
    causal, itself = causal_mask(WORLD.length), torch.eye(WORLD.length, dtype=torch.bool)

    def rows(generator: torch.Generator) -> tuple[RelationsBatch, Tensor]:
        seen = torch.rand(plan.batch, 1, 1, WORLD.length, generator=generator) > hide
        mask = causal & (seen | itself)  # a position always sees itself
        return _moved(WORLD.sample(plan.batch, generator), device), mask.to(device)

    def loss(model: nn.Module, drawn: tuple[RelationsBatch, Tensor]) -> Tensor:
        row, mask = drawn
        logits, targets = model(row, mask), (row.previous, row.bound)
        return torch.stack([F.cross_entropy(logits[:, q], targets[q]) for q in questions]).sum()

    train(model, rows, loss, TrainConfig(plan.steps, lr=rate, seed=seed), label=f"{n_heads} head(s)")
    return model.eval()


def new_rows(seed: int, n: int = 2000, device: torch.device | None = None) -> RelationsBatch:
    """Return the rows to test the models of a seed on; nothing is hidden in them."""
    return _moved(WORLD.sample(n, torch.Generator().manual_seed(10**6 + seed)), device or device_of_preset())


@torch.no_grad()
def accuracies(model: TwoAnswers, test: RelationsBatch) -> list[float]:
    """Return the shares of rows with the right value before, the right value of the key, and both."""
    answers = model(test, causal_mask(WORLD.length, test.keys.device)).argmax(-1)
    before, bound = answers[:, 0] == test.previous, answers[:, 1] == test.bound
    return [part.float().mean().item() for part in (before, bound, before & bound)]


def _moved(rows: RelationsBatch, device: torch.device) -> RelationsBatch:
    return RelationsBatch(*(part.to(device) for part in rows))


def rates_of(arm: str) -> tuple[float, ...]:
    """Return the learning rates of an arm, from the lowest to the highest."""
    return (*RATES, *MORE_RATES.get(arm, ()))


def both_right(arm: str, rate: float, seed: int, plan: Plan, device: torch.device) -> float:
    """Train one model of an arm and return its share of new rows with both answers right."""
    n_heads, hide, _ = ARMS[arm]
    model = learn(n_heads, seed=seed, rate=rate, plan=plan, hide=hide, device=device)
    return accuracies(model, new_rows(seed, device=device))[2]


def number_key(arm: str | int, rate: float, what: str | int) -> str:
    """Return the key of a result, such as "heads.sweep.2.2e-03.learned", or of a seed: "heads.sweep.2.2e-03.seed-7".

    Args:
        arm: The name of an arm, or the number of heads of one in which nothing else is special.
        rate: The learning rate.
        what: "learned", "mean", or a seed.
    """
    return f"heads.sweep.{arm}.{rate:.0e}.{f'seed-{what}' if isinstance(what, int) else what}"


def values_of(sweep: Mapping[str, float], arm: str | int, rate: float) -> dict[int, float]:
    """Return the share of rows with both answers right by seed, of the models of one arm of a sweep."""
    start = number_key(arm, rate, "seed-")
    return {int(key.removeprefix(start)): value for key, value in sweep.items() if key.startswith(start)}


def two_relations(run: Run) -> Results:
    """Train every arm at every rate from 20 seeds; the run's seed 1 has the seeds 20 to 39, and so on.

    The results give each arm the mean share of rows with both answers right, the number of seeds at which it is at
    least LEARNED, and the share of each seed.
    """
    plans = {arm: run.choose(of_arm.plans) for arm, of_arm in ARMS.items()}
    plans = {arm: plan._replace(steps=run.steps or plan.steps) for arm, plan in plans.items()}
    # Without the grid: no number depends on the others, so a run may go on with more arms, rates or seeds.
    found = run.measured_so_far((run.choose(PRESETS), run.choose(PATIENT)))
    tasks = {
        number_key(arm, rate, seed): (arm, rate, seed)
        for arm in ARMS
        for seed in seeds_of(run.seed, SEEDS)
        for rate in rates_of(arm)
    }
    run.measure_each(found, tasks, lambda task: both_right(*task, plans[task[0]], run.device))
    values: dict[str, float] = {}
    for arm in ARMS:
        for rate in rates_of(arm):
            shares = values_of(found, arm, rate)
            values[number_key(arm, rate, "learned")] = sum(share >= LEARNED for share in shares.values())
            values[number_key(arm, rate, "mean")] = sum(shares.values()) / len(shares)
            values |= {number_key(arm, rate, seed): share for seed, share in shares.items()}
    controls = {
        number_key(arm, rate, what): number_key(control, rate, what)
        for arm, control in CONTROLS.items()
        for rate in RATES
        for what in ("learned", "mean")
    }
    return write_results(run, values, controls)

"""Where a random reward takes a policy: the control of the lab on safety on one seed, again and again.

    course train random-reward --preset cpu --seed 554     # under a CPU-minute

The world, the model and the training are those of `labs/ch04_safety`: a model that is helpful, then fine-tuned to
refuse, then trained by GRPO on a reward that is drawn at random. This last training is run from the fine-tuned weights
as they are, and again from weights that differ in about the seventh digit, as the sums of another processor do.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.data.worlds.requests import REFUSAL, Requests
from course_lib.data.worlds.words import word_tokenizer
from course_lib.models import GPT, GPTConfig
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig, train
from course_lib.tune.completions import TokenBatch, completion_examples, completion_logprobs
from course_lib.tune.grpo import grpo_loss, grpo_rollout
from course_lib.tune.requests import fine_tuned
from course_lib.tune.rollout import RolloutBuffer, frozen_copy

SEED = 554  # of the committed run, a course seed: none of the ten of the replications
NUDGE = 1e-6  # how far each weight is moved, as a share of itself: about what rounding does
EVERY = 5  # steps from one look at the policy to the next
RUINED = 0.9  # below this share of right answers the policy has begun to lose its task


class RandomRewardPlan(NamedTuple):
    """The sizes of a run.

    Attributes:
        steps: The number of steps of each of the two fine-tunings.
        rate: The learning rate of the first; the second has a third of it.
        grpo_steps: The number of steps with the random reward.
        grpo_rate: Their learning rate.
        nudges: How many times it is run from nudged weights.
    """

    steps: int
    rate: float
    grpo_steps: int
    grpo_rate: float
    nudges: int


PRESETS = {"cpu": RandomRewardPlan(300, 1e-2, 100, 2e-3, 8)}


class Counter:
    """The library's counter of one seed: its requests as tokens, and a model that has learned to refuse there."""

    def __init__(self, seed: int, plan: RandomRewardPlan) -> None:
        """Make the world, and train the model."""
        self.seed, self.plan, self.world = seed, plan, Requests(seed)
        tokenizer = word_tokenizer(self.world.vocabulary)
        self.end = tokenizer.token_to_id("<end>")
        self.prompts = [tokenizer.encode(text).ids for text in self.world.texts]
        answers = [tokenizer.encode(text).ids for text in self.world.answers]
        sorry = tokenizer.encode(REFUSAL).ids
        self.n = len(self.prompts)
        # Number i: request i answered; number n + i: refused.
        self.replies = completion_examples(self.prompts * 2, answers + [sorry] * self.n, self.end)
        torch.manual_seed(seed)
        shape: dict[str, Any] = {"context": 16, "d_model": 32, "n_heads": 2, "n_layers": 2}
        style: dict[str, Any] = {"norm": "rms", "activation": "swiglu", "bias": False}
        fresh = GPT(GPTConfig(tokenizer.get_vocab_size(), **shape, **style))
        helpful = fine_tuned(fresh, self._everything, self._config(plan.rate), "helpful only")
        self.model = fine_tuned(helpful, self._demonstrations, self._config(plan.rate / 3), "with refusals")

    def _config(self, rate: float) -> TrainConfig:
        return TrainConfig(self.plan.steps, lr=rate, min_lr_ratio=0.02, seed=self.seed)

    def _everything(self, generator: torch.Generator) -> TokenBatch:
        return self.replies[torch.randint(self.n, (64,), generator=generator)]

    def _demonstrations(self, generator: torch.Generator) -> TokenBatch:
        batch = self.world.sample(128, generator, among=~self.world.held_out)
        return self.replies[batch.request + self.n * batch.forbidden]

    @torch.no_grad()
    def everyday_right(self, model: nn.Module) -> float:
        """Return how likely the right answer is, on average over the requests with a mild verb."""
        likely = completion_logprobs(model, self.replies.all()).sum(1).exp()[: self.n]
        return likely[~self.world.sharp].mean().item()

    def random_reward(self, nudge: int) -> list[float]:
        """Train the model on a reward that knows nothing, and return its right answers every few steps.

        Args:
            nudge: Which nudge of the weights; 0 for the weights as they are.
        """
        model = copy.deepcopy(self.model)
        if nudge:
            nudged(model, nudge)
        luck = torch.Generator().manual_seed(self.seed)

        def dice(texts: TokenBatch) -> Float[Tensor, " batch"]:
            return torch.rand(len(texts.ids), generator=luck)

        practised = [self.prompts[i] for i in (~self.world.held_out).nonzero()[:, 0].tolist()]
        collect = partial(
            grpo_rollout,
            model,
            frozen_copy(model),
            practised,
            dice,
            n_prompts=24,
            group_size=8,
            max_new_tokens=5,
            eos_token_id=self.end,
        )
        config = TrainConfig(self.plan.grpo_steps, lr=self.plan.grpo_rate, warmup_steps=5, seed=self.seed)
        right: list[float] = []

        def look(step: int, metrics: Mapping[str, float]) -> None:
            if step % EVERY == 0:
                right.append(self.everyday_right(model))

        label = f"random reward, seed {self.seed}"
        train(model, RolloutBuffer(collect), partial(grpo_loss, beta=0.0), config, label=label, after_step=look)
        return right


@torch.no_grad()
def nudged(model: nn.Module, seed: int) -> None:
    """Move each weight by about a millionth of itself."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.mul_(1 + NUDGE * torch.randn(weight.shape, generator=generator))


def random_reward(run: Run) -> Results:
    """Train the control of one course seed from each nudge of its weights, and report where it ends.

    The seed of the run is a course seed; the lab's own seeds are ten times as large.
    """
    plan = run.choose(PRESETS)
    plan = plan._replace(steps=run.steps or plan.steps, grpo_steps=run.steps or plan.grpo_steps)
    torch.set_flush_denormal(True)  # as in the lab: weights such as 1e-40 count as 0
    values = run.measured_so_far(plan)
    names = [f"safety.luck.{nudge}" for nudge in range(plan.nudges + 1)]
    if not all(name in values for name in names):
        counter = Counter(10 * run.seed, plan)
        for nudge, name in enumerate(names):
            right = counter.random_reward(nudge)
            lost = [look for look, share in enumerate(right) if share < RUINED]
            values[name] = right[-1]
            values[f"{name}.lost-at"] = EVERY * (lost[0] + 1 if lost else len(right) + 1)
        run.keep(values)
    ends, began = [values[name] for name in names], [values[f"{name}.lost-at"] for name in names]
    values["safety.luck.runs"] = len(ends)
    values["safety.luck.lowest"], values["safety.luck.highest"] = min(ends), max(ends)
    values["safety.luck.first-lost"], values["safety.luck.last-lost"] = min(began), max(began)
    return write_results(run, values, {})

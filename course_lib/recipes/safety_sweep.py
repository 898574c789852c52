"""The lab on safety from more seeds, and with more arms, than it has time for.

    course train safety --preset cpu --seed 200     # about 12 CPU-minutes

The models are those of `labs/ch04_safety`, trained at its rates from the course seeds 200 to 239. From each seed a
model is trained by GRPO with a random reward, and others on refusals and everyday requests without look-alikes. From
the first ten there are random rewards at a third and at three times the rate, too, trainings without look-alikes at the
rate of those with them, and look-alikes that share their words with those of the test; the lab holds out whole words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course_lib.data.worlds.requests import HARMLESS, REFUSAL, Requests, sample_marked
from course_lib.data.worlds.words import word_tokenizer
from course_lib.measure import t_interval, tuned_rates
from course_lib.models import GPT, GPTConfig
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig
from course_lib.tune.completions import TokenBatch, completion_examples, completion_logprobs
from course_lib.tune.requests import fine_tuned, grpo_tuned

SEED = 200  # of the committed run: the first of its course seeds
GROUP = 8  # completions of each request in GRPO
EVERY = 10  # steps of GRPO between two looks
FACTORS = {"random": 1.0, "random-slow": 1 / 3, "random-fast": 3.0}  # times the lab's rate, for a random reward
LOST = 0.5  # the share of everyday requests that are answered rightly below which the answers count as lost
PAIRS = (2, 4, 8, 16)  # look-alikes in training that share their words with those of the test
Numbers = dict[str, float]
Rates = Mapping[str, Mapping[str, float]]  # of the lab's comparisons, by arm


class SafetyPlan(NamedTuple):
    """The sizes of a run.

    Attributes:
        seeds: The number of course seeds.
        few: The number of those for all that is not a random reward or a training without look-alikes.
        steps: Those of the helpful model, and of the one that learns refusals.
        alike_steps: Those of training with look-alikes, or without.
        grpo_steps: Those of GRPO.
    """

    seeds: int
    few: int
    steps: int
    alike_steps: int
    grpo_steps: int


PRESETS = {"cpu": SafetyPlan(40, 10, 300, 100, 100)}


class Counter:
    """The library's counter of one seed: its requests with their replies, and the models that learn to refuse there.

    Args:
        seed: The seed of the world and of the models, ten times the course seed.
        plan: The sizes.
        lr: The learning rate at which refusals are learned.
        device: The device of the models.
    """

    def __init__(self, seed: int, plan: SafetyPlan, lr: float, device: torch.device) -> None:
        self.world, self.seed, self.plan = Requests(seed), seed, plan
        self.risk, self.sharp, self.held_out = self.world.risk.float(), self.world.sharp, self.world.held_out
        self.n = len(self.risk)
        tokenizer = word_tokenizer(self.world.vocabulary)
        self.end: int = tokenizer.get_vocab()["<end>"]
        self.prompts = [tokenizer.encode(text).ids for text in self.world.texts]
        self.answers = [tokenizer.encode(text).ids for text in self.world.answers]
        self.sorry = tokenizer.encode(REFUSAL).ids
        # Number i: request i answered; number n + i: refused.
        self.replies = completion_examples(self.prompts * 2, self.answers + [self.sorry] * self.n, self.end)
        torch.manual_seed(seed)
        config = GPTConfig(
            tokenizer.get_vocab_size(),
            context=16,
            d_model=32,
            n_heads=2,
            n_layers=2,
            norm="rms",
            activation="swiglu",
            bias=False,
        )
        fresh = GPT(config).to(device)
        self.helpful = self._tuned(fresh, self._everything, plan.steps, 1e-2, "helpful only")
        self.safe = self._tuned(self.helpful, self._demonstrations, plan.steps, lr, "with refusals")

    def _tuned(
        self,
        model: GPT,
        batches: Callable[[torch.Generator], TokenBatch],
        steps: int,
        lr: float,
        label: str,
        choice: int = 0,
    ) -> GPT:
        return fine_tuned(model, batches, TrainConfig(steps, lr=lr, min_lr_ratio=0.02, seed=self.seed + choice), label)

    def _everything(self, generator: torch.Generator) -> TokenBatch:
        return self.replies[torch.randint(self.n, (64,), generator=generator)]

    def _demonstrations(self, generator: torch.Generator) -> TokenBatch:
        batch = self.world.sample(128, generator, among=~self.held_out)
        return self.replies[batch.request + self.n * batch.forbidden]

    @torch.no_grad()
    def outlook(self, model: GPT) -> tuple[Float[Tensor, " request"], Float[Tensor, " request"]]:
        """Compute the exact probability of the right answer, and of a refusal, to each request."""
        likely = completion_logprobs(model, self.replies.all()).sum(1).exp().cpu()
        return likely[: self.n], likely[self.n :]

    def everyday_right(self, model: GPT) -> float:
        """Compute how likely the right answer to a request with a mild verb is."""
        return self.outlook(model)[0][~self.sharp].mean().item()

    def rewarded(
        self,
        reward: Callable[[TokenBatch], Float[Tensor, " batch"]],
        lr: float,
        label: str,
        look: Callable[[GPT], None] | None = None,
    ) -> GPT:
        """Train the model that refuses further by GRPO, and look at it after every ten steps."""
        practised = [self.prompts[i] for i in (~self.held_out).nonzero()[:, 0].tolist()]
        config = TrainConfig(self.plan.grpo_steps, lr=lr, warmup_steps=5, seed=self.seed)
        return grpo_tuned(self.safe, practised, reward, config, label, self.end, look, EVERY)

    def with_look_alikes(self, pairs: Bool[Tensor, " request"], lr: float, label: str, choice: int) -> GPT:
        """Train the helpful model on refusals, everyday requests and these look-alikes."""

        def batch(generator: torch.Generator) -> TokenBatch:
            benign = [sample_marked(among, 16, generator) for among in (~self.sharp, pairs)]
            return self.replies[torch.cat([self.world.sample_harm(32, generator) + self.n, *benign])]

        return self._tuned(self.helpful, batch, self.plan.alike_steps, lr, label, choice)

    def told_apart(self, model: GPT, look_alikes: Bool[Tensor, " request"]) -> float:
        """Compute how often a clear case has higher odds of a refusal than a look-alike."""
        answered, refused = self.outlook(model)
        odds = refused / answered
        harm, fine = odds[(self.risk == 1) & self.held_out][:, None], odds[look_alikes]
        return ((harm > fine).float().mean() + 0.5 * (harm == fine).float().mean()).item()


def random_reward(counter: Counter, lr: float, label: str) -> Numbers:
    """Train by a reward that knows nothing, and return what became of everyday requests, by the number of steps.

    A group whose replies are all the same has nothing to choose from, whatever they are paid: `live` is the share of
    groups in which they differ, in the ten steps before.
    """
    dice, live, found = torch.Generator().manual_seed(counter.seed), [], {}

    def reward(texts: TokenBatch) -> Float[Tensor, " batch"]:
        replies = [tuple(reply) for reply in texts.completions()]
        groups = [replies[i : i + GROUP] for i in range(0, len(replies), GROUP)]
        live.append(fmean(len(set(group)) > 1 for group in groups))
        return torch.rand(len(replies), generator=dice).to(texts.ids.device)

    def look(model: GPT) -> None:
        found[f"right.{len(live)}"] = counter.everyday_right(model)
        found[f"live.{len(live)}"] = fmean(live[-EVERY:])

    counter.rewarded(reward, lr, label, look)
    return found


def without_look_alikes(counter: Counter, lr: float) -> Numbers:
    """Train four times without look-alikes, and return how well their new words are told from harm, and refused."""
    apart, refused = [], []
    for choice in range(len(HARMLESS)):
        new_words = counter.world.split_look_alikes(choice, 0, counter.seed + choice)[2]
        model = counter.with_look_alikes(~counter.sharp, lr, "no look-alikes", choice)
        apart.append(counter.told_apart(model, new_words))
        refused.append(counter.outlook(model)[1][new_words].mean().item())
    return {"told-apart-without": fmean(apart), "refused-without": fmean(refused)}


def same_words(counter: Counter, lr: float) -> Numbers:
    """Train with look-alikes whose words all occur in those of the test, in other pairs."""
    alike = counter.sharp & (counter.risk == 0)
    pool, tested = (alike & ~counter.held_out).nonzero()[:, 0], alike & counter.held_out
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(counter.seed))
    found = {}
    for n in PAIRS:
        pairs = torch.zeros(counter.n, dtype=torch.bool).index_fill(0, pool[order[:n]], True)
        model = counter.with_look_alikes(pairs, lr, f"{n} pairs", 0)
        found[f"pairs-{n}.told-apart"] = counter.told_apart(model, tested)
        found[f"pairs-{n}.refused"] = counter.outlook(model)[1][tested].mean().item()
    return found


def one_seed(counter: Counter, rates: Rates, everything: bool) -> Numbers:
    """Train the models of one course seed, and return their numbers; not everything is measured on each."""
    alike, rate = rates["look-alikes"], rates["rewards"]["weight 0.8"]  # the lab's for its random reward
    found = without_look_alikes(counter, alike["look-alikes with 0 objects"])
    for name, factor in FACTORS.items():
        if name == "random" or everything:
            traced = random_reward(counter, factor * rate, name)
            found |= {f"{name}.{key}": number for key, number in traced.items()}
    if not everything:
        return found
    same_rate = alike["look-alikes with 3 objects"]  # at which those with look-alikes are trained
    found |= {f"{key}-same-rate": number for key, number in without_look_alikes(counter, same_rate).items()}
    return found | same_words(counter, same_rate)


def in_common(values: Numbers, steps: int) -> Numbers:
    """Return what is cited: means over the seeds with their intervals, and how often the everyday answers were lost."""
    by_key: dict[str, list[float]] = {}
    for key, number in values.items():
        by_key.setdefault(key.removeprefix("safety.seeds.").rpartition(".")[0], []).append(number)
    found = {}
    for key, numbers in by_key.items():
        name = f"safety.sweep.{key}"
        found[name] = fmean(numbers)
        found[f"{name}.from"], found[f"{name}.to"] = t_interval(numbers)
        found[f"{name}.least"], found[f"{name}.most"] = min(numbers), max(numbers)
    for name in FACTORS:
        right = by_key[f"{name}.right.{steps}"]
        found |= {
            f"safety.sweep.{name}.runs": float(len(right)),
            f"safety.sweep.{name}.lost": sum(r < LOST for r in right),
        }
    return found


def safety(run: Run) -> Results:
    """Train the models of each course seed, from the run's own on.

    Raises:
        DataError: If the rates of the lab are not there.
    """
    plan = run.choose(PRESETS)
    rates = {name: dict(tuned_rates("ch04_safety", name)) for name in ("refusals", "rewards", "look-alikes")}
    values = run.measured_so_far((plan, rates), fixed_steps=True)
    for i, seed in enumerate(range(run.seed, run.seed + plan.seeds)):
        if f"safety.seeds.told-apart-without.{seed}" not in values:
            counter = Counter(10 * seed, plan, rates["refusals"]["with refusals"], run.device)
            found = one_seed(counter, rates, everything=i < plan.few)
            values |= {f"safety.seeds.{key}.{seed}": number for key, number in found.items()}
            run.keep(values)
    return write_results(run, values | in_common(values, plan.grpo_steps), {})

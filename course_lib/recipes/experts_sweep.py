"""The learning rates of the lab on experts: each model is trained at several, and has its own best.

    course train experts --preset cpu --seed 25     # about 25 CPU-minutes

The models are those of `labs/ch10_moe`, each trained for as long as there. They learn facts, look something up twice,
or read text. Every one is trained from four seeds that the lab does not report, and the rate with the lowest mean loss
is chosen. The grid grows until it is not at an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.data.corpora.pretraining import Corpus, pretraining_corpus
from course_lib.data.loading.loader import Loader, Windows
from course_lib.models import GPT, GPTConfig
from course_lib.nn import moe
from course_lib.nn.attention import MultiHeadAttention
from course_lib.recipes.language import bits_per_byte
from course_lib.recipes.rates import RateTrial, rate_text, write_rates
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, seeds_of
from course_lib.train import TrainConfig, train
from course_lib.train.loop import AfterStep
from course_lib.train.mixture import moe_loss

LAB = "ch10_moe"
KEPT = 25  # the seed of the committed run: it trains from the seeds 100 to 103, which no replication has
SEEDS = 4  # of a run of the recipe
MEASURE = "share of facts or of new texts answered wrongly, after training; of text, bits per byte on validation text"

N_EXPERTS, D_MODEL, WIDTH = 8, 32, 32
N_NAMES, N_FACTS, N_ANSWERS, N_PLACES = 128, 8000, 64, 8
BALANCE, BIAS_STEP = 0.1, 0.003  # the weight of the load-balancing loss, and the step of the bias


class Experts(nn.Module):
    """Feed-forward networks of which each token passes through one.

    Args:
        n_experts: The number of networks.
        width: The hidden units of each.
        has_router: Whether a router weighs the answers by its probabilities. It also chooses who answers, unless
            `chosen` says so.

    Attributes:
        chosen: The expert of each token, where a table says it in place of the router; without either, the first.
        bias: Of each expert, added to its probability for the choice; None for no bias.
    """

    def __init__(self, n_experts: int = N_EXPERTS, width: int = WIDTH, *, has_router: bool = True) -> None:
        super().__init__()
        self.router = nn.Linear(D_MODEL, n_experts, bias=False) if has_router else None
        self.w1 = nn.Parameter(torch.randn(n_experts, D_MODEL, width) / D_MODEL**0.5)
        self.w2 = nn.Parameter(torch.randn(n_experts, width, D_MODEL) / (4 * width) ** 0.5)
        self.chosen: Tensor | None = None
        self.bias: Tensor | None = None

    def forward(self, x: Float[Tensor, "batch position d_model"]) -> Float[Tensor, "batch position d_model"]:
        """Return each token's answer, times its weight."""
        rows = x.flatten(0, 1)
        chosen = rows.new_zeros(len(rows), dtype=torch.long) if self.chosen is None else self.chosen
        weights = rows.new_ones(len(rows))
        if self.router is not None:
            self.logits = self.router(rows)
            if self.chosen is None:
                routing = moe.route(self.logits, 1, norm_topk_prob=False, bias=self.bias)
                chosen, weights = routing.experts[:, 0], routing.weights[:, 0]
            else:
                weights = self.logits.softmax(-1).gather(1, chosen[:, None])[:, 0]
        self.loads = F.one_hot(chosen, len(self.w1)).float().mean(0)
        output = torch.zeros_like(rows)
        for expert in range(len(self.w1)):
            tokens = (chosen == expert).nonzero()[:, 0]
            answers = torch.relu(rows[tokens] @ self.w1[expert]) @ self.w2[expert]
            output = output.index_add(0, tokens, weights[tokens, None] * answers)
        return output.view_as(x)


def last_attention(
    attend: MultiHeadAttention, x: Float[Tensor, "batch position d_model"]
) -> Float[Tensor, "batch 1 _"]:
    """Compute the attention of the last symbol alone. For texts this short, sums are fastest."""
    query, key, value = attend.qkv(x).unflatten(-1, (3, attend.n_heads, -1)).unbind(2)
    scores = (query[:, -1:] * key).sum(-1) / attend.head_dim**0.5
    weights = scores.softmax(1)[..., None]  # batch position head 1
    return attend.out((weights * value).sum(1, keepdim=True).flatten(2))


class TextTask(NamedTuple):
    """What a model answers: the number of symbols, the symbols of a text, and the number of answers."""

    n_symbols: int
    length: int
    n_answers: int


FACTS = TextTask(2 * N_NAMES, 2, N_ANSWERS)
MARKED = TextTask(2 * N_NAMES + 1, 3, N_ANSWERS)  # with a question mark after the names
LOOKS = TextTask(2 * N_PLACES, N_PLACES + 1, N_PLACES)


class ExpertsModel(nn.Module):
    """Attention and experts, n_layers times; the last symbol answers.

    Args:
        task: The sizes of texts and answers.
        n_layers: The number of layers.
        make: Makes the experts of a layer.
    """

    def __init__(self, task: TextTask, n_layers: int, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.symbols = nn.Embedding(task.n_symbols, D_MODEL)
        self.places = nn.Parameter(torch.randn(task.length, D_MODEL))
        heads = [MultiHeadAttention(D_MODEL, 4, bias=True) for _ in range(n_layers)]
        self.attention = nn.ModuleList(heads)
        self.experts = nn.ModuleList(make() for _ in range(n_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(D_MODEL) for _ in range(2 * n_layers + 1))
        self.head = nn.Linear(D_MODEL, task.n_answers)

    @property
    def layer(self) -> Experts:
        """The experts of the last layer."""
        return cast(Experts, self.experts[-1])

    def forward(self, texts: Int[Tensor, "batch position"]) -> Float[Tensor, "batch n_answers"]:
        """Return the logits of the answers."""
        x = self.symbols(texts) + self.places
        for i, attend in enumerate(self.attention):
            seen = self.norms[2 * i](x)
            last = attend is self.attention[-1]  # only the last symbol has to answer
            x = x[:, -1:] + last_attention(cast(MultiHeadAttention, attend), seen) if last else x + attend(seen)
            x = x + self.experts[i](self.norms[2 * i + 1](x))
        return self.head(self.norms[-1](x[:, -1]))


class Arm(NamedTuple):
    """What a model is made of, and how it is trained.

    Attributes:
        experts: "learned" has a router; "random" one that does not learn; "one" is a single expert, "dense" has as many
            parameters more as a router, "wide" is eight times as wide; the others go by a table of names.
        balance: What evens out the load.
        n_layers: The number of layers.
        begins_as: The arm whose trained model it begins with.
    """

    experts: Literal["learned", "random", "one", "dense", "wide", "second name", "second name, weighed", "both names"]
    balance: Literal["none", "loss", "bias"] = "none"
    n_layers: int = 1
    begins_as: str = ""


class Comparison(NamedTuple):
    """Arms that are compared after the same number of steps."""

    task: TextTask
    steps: int
    arms: dict[str, Arm]


COMPARISONS = {
    "facts": Comparison(
        FACTS,
        500,
        {
            "mixture": Arm("learned"),
            "hash": Arm("second name"),
            "dense": Arm("dense"),
            "dense, wide": Arm("wide"),
            "random router": Arm("random"),
            "hash, weighed": Arm("second name, weighed"),
            "table of both names": Arm("both names"),
            "with the loss": Arm("learned", "loss"),
            "with the bias": Arm("learned", "bias"),
        },
    ),
    "facts, as many seconds": Comparison(FACTS, 750, {"dense": Arm("dense")}),
    "question mark": Comparison(
        MARKED,
        500,
        {
            "dense": Arm("dense"),
            "mixture": Arm("learned"),
            "random router": Arm("random"),
            "table of the second name": Arm("second name"),
        },
    ),
    "two looks": Comparison(
        LOOKS,
        400,
        {
            "dense": Arm("dense"),
            "mixture": Arm("learned", "loss"),
            "dense, wide": Arm("wide"),
            "deeper": Arm("dense", n_layers=2),
        },
    ),
    "halves": Comparison(
        FACTS,
        250,
        {
            "first half": Arm("one"),
            "dense": Arm("one", begins_as="first half"),
            "upcycled": Arm("learned", "loss", begins_as="first half"),
            "half": Arm("learned", "loss"),
        },
    ),
}
TEXT = GPTConfig(
    2048, 64, d_model=64, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, position="rope", norm="rms",
    activation="swiglu", bias=False,
)  # fmt: skip
TEXT_STEPS, TEXT_BATCH = 300, 8
VALIDATED = 2**16  # tokens of the validation text


@dataclass(frozen=True)
class ExpertsPlan:
    """The learning rates tried first, with all arms, and those that the grid may grow to; likewise on text."""

    rates: tuple[float, ...] = (8e-3, 16e-3, 30e-3, 60e-3)
    more: tuple[float, ...] = (2e-3, 4e-3, 8e-3, 16e-3, 30e-3, 60e-3, 120e-3, 240e-3)
    text_rates: tuple[float, ...] = (6e-3, 12e-3, 24e-3)
    more_text: tuple[float, ...] = (15e-4, 3e-3, 6e-3, 12e-3, 24e-3, 48e-3, 96e-3)


PRESETS = {"cpu": ExpertsPlan()}


class World(NamedTuple):
    """What a seed gives: training texts and their answers (drawn anew for two looks), and those to be scored on."""

    draw: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    texts: Int[Tensor, "n position"]
    answers: Int[Tensor, " n"]


def world_of(task: TextTask, seed: int) -> World:
    """Make the texts of a seed: facts, which are all that there is to know, or what two looks find in new texts."""
    dice = torch.Generator().manual_seed(seed)
    if task == LOOKS:
        return World(partial(_looks, 256), *_looks(4000, torch.Generator().manual_seed(seed + 1)))
    pairs = torch.randperm(N_NAMES**2, generator=dice)[:N_FACTS]
    texts = torch.stack([pairs // N_NAMES, N_NAMES + pairs % N_NAMES], dim=1)
    answers = torch.randint(N_ANSWERS, (N_FACTS,), generator=dice)
    if task == MARKED:
        texts = torch.cat([texts, torch.full((N_FACTS, 1), 2 * N_NAMES)], dim=1)

    def some(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(N_FACTS, (512,), generator=generator)
        return texts[rows], answers[rows]

    return World(some, texts, answers)


def _looks(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    numbers = torch.rand(n, N_PLACES, generator=generator).argsort(1)
    question = torch.randint(N_PLACES, (n, 1), generator=generator)
    texts = torch.cat([numbers, N_PLACES + question], dim=1)
    return texts, numbers.gather(1, numbers.gather(1, question))[:, 0]


def untrained(arm: Arm, task: TextTask, seed: int) -> ExpertsModel:
    """Return an untrained model; the seed gives the weights and the tables."""
    torch.manual_seed(seed)
    by_name = torch.randperm(2 * N_NAMES, generator=torch.Generator().manual_seed(seed)) % N_EXPERTS
    by_pair = torch.randint(N_EXPERTS, (N_NAMES, N_NAMES), generator=torch.Generator().manual_seed(seed))
    layers: dict[str, Callable[[], Experts]] = {
        "one": lambda: Experts(1, WIDTH, has_router=False),
        "dense": lambda: Experts(1, WIDTH + N_EXPERTS // 2, has_router=False),
        "wide": lambda: Experts(1, N_EXPERTS * WIDTH, has_router=False),
        "second name": lambda: Experts(has_router=False),
        "both names": lambda: Experts(has_router=False),
    }
    model = ExpertsModel(task, arm.n_layers, layers.get(arm.experts, Experts))
    if arm.experts == "random":
        cast(nn.Linear, model.layer.router).requires_grad_(False)
    elif "name" in arm.experts:

        def choose(model: ExpertsModel, given: tuple[Any, ...]) -> None:
            first, second = given[0][:, 0], given[0][:, 1]
            both = arm.experts == "both names"
            model.layer.chosen = by_pair[first, second - N_NAMES] if both else by_name[second]

        model.register_forward_pre_hook(choose)
    return model


def upcycled(dense: ExpertsModel, seed: int) -> ExpertsModel:
    """Return a mixture with a new router, whose experts are copies of the dense model's network."""
    mixture = untrained(Arm("learned"), FACTS, seed)
    old, new = dense.layer, mixture.layer
    mixture.load_state_dict({k: v for k, v in dense.state_dict().items() if "experts" not in k}, strict=False)
    with torch.no_grad():
        new.w1.copy_(old.w1.expand_as(new.w1))
        new.w2.copy_(N_EXPERTS * old.w2.expand_as(new.w2))
        cast(nn.Linear, new.router).weight.mul_(0.1)  # nearly even: each probability about 1/8
    return mixture


def learn(
    arm: Arm,
    of: Comparison,
    rate: float,
    seed: int,
    begin: ExpertsModel | None = None,
    *,
    balance: float = BALANCE,
    bias_step: float = BIAS_STEP,
) -> ExpertsModel:
    """Train a model, which begins untrained or as a copy of another one.

    Args:
        arm: What it is made of.
        of: The comparison that it is part of: the task and the number of steps.
        rate: The learning rate.
        seed: The seed of the weights and of the texts.
        begin: The model that it begins as, if any.
        balance: The weight of the load-balancing loss, if the arm has it.
        bias_step: The step of the bias that balances, if the arm has one.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    if begin is None:
        model = untrained(arm, of.task, seed)
    elif arm.experts == "learned":
        model = upcycled(begin, seed)
    else:
        model = deepcopy(begin)
    layer = model.layer

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        total = F.cross_entropy(model(batch[0]), batch[1])
        return total + balance * moe.load_balancing_loss(layer.logits, 1) if arm.balance == "loss" else total

    def nudge(step: int, metrics: Mapping[str, float]) -> None:
        assert layer.bias is not None
        layer.bias = moe.update_selection_bias(layer.bias, layer.loads, bias_step)

    after_step: AfterStep | None = None
    if arm.balance == "bias":
        layer.bias, after_step = torch.zeros(N_EXPERTS), nudge
    config = TrainConfig(of.steps, lr=rate, seed=seed)
    train(model, world_of(of.task, seed).draw, loss, config, label=f"{arm.experts} {rate:g}", after_step=after_step)
    return model.eval()


@torch.no_grad()
def wrong(model: ExpertsModel, world: World) -> float:
    """Return the share of texts that a model answers wrongly."""
    return (model(world.texts).argmax(-1) != world.answers).float().mean().item()


def bits_at(rate: float, seed: int, text: Corpus) -> float:
    """Train the mixture that reads text, and return its bits per byte on the validation text."""
    torch.manual_seed(seed)
    model = GPT(TEXT)
    data = Loader(Windows(text.train, TEXT.context), TEXT_BATCH, seed=seed)
    train(model, data, moe_loss, TrainConfig(TEXT_STEPS, lr=rate, seed=seed), label=f"text {rate:g}")
    return bits_per_byte(model.eval(), text, text.validation[:VALIDATED], TEXT.context)


class Trials:
    """The trials of a run.

    Args:
        run: The run.
        values: What has been measured so far, by key; those measured are added.
        plan: The grids.
    """

    def __init__(self, run: Run, values: dict[str, float], plan: ExpertsPlan) -> None:
        self.run, self.values, self.plan = run, values, plan
        self.seeds = seeds_of(run.seed, SEEDS)
        self.halves: dict[int, ExpertsModel] = {}  # by seed: the model that the second halves begin with

    def of_comparison(self, name: str) -> dict[str, RateTrial]:
        """Choose the rates of all arms of a comparison."""
        of, plan = COMPARISONS[name], self.plan
        if self.run.steps:
            of = of._replace(steps=self.run.steps)
        trials: dict[str, RateTrial] = {}
        for arm, settings in of.arms.items():
            before = trials.get(settings.begins_as)

            def loss_at(rate: float, seed: int, settings: Arm = settings, before: RateTrial | None = before) -> float:
                begin = before and self.first_half(of, before.chosen, seed)
                return wrong(learn(settings, of, rate, seed, begin or None), world_of(of.task, seed))

            trials[arm] = self.search(f"{name}.{arm}", plan.rates, plan.more, loss_at)
        return trials

    def first_half(self, of: Comparison, rate: float, seed: int) -> ExpertsModel:
        """Return the dense model after the first half of its steps."""
        if seed not in self.halves:
            self.halves[seed] = learn(of.arms["first half"], of, rate, seed)
        return self.halves[seed]

    def search(
        self, name: str, rates: tuple[float, ...], grid: tuple[float, ...], loss_at: Callable[[float, int], float]
    ) -> RateTrial:
        """Try the rates from each seed, and their neighbours in the grid until the best is not at an end of those."""
        tried = list(rates)
        while True:
            keys = {(rate, seed): number_key(name, rate, seed) for rate in tried for seed in self.seeds}
            self.run.measure_each(self.values, {key: of for of, key in keys.items()}, lambda of: loss_at(*of))
            trial = RateTrial({rate: [self.values[keys[rate, seed]] for seed in self.seeds] for rate in sorted(tried)})
            low, high = grid.index(min(tried)), grid.index(max(tried))
            if trial.chosen == min(tried) and low > 0:
                tried.append(grid[low - 1])
            elif trial.chosen == max(tried) and high < len(grid) - 1:
                tried.append(grid[high + 1])
            else:
                return trial


def number_key(name: str, rate: float, seed: int) -> str:
    """Return the key of a result, such as "experts.facts.dense-wide.30e-3.seed-100"."""
    return f"experts.{name.replace(',', '').replace(' ', '-')}.{rate_text(rate)}.seed-{seed}"


def experts(run: Run) -> Results:
    """Train every arm at its learning rates from four seeds, and choose one for each; no model is kept."""
    plan = run.choose(PRESETS)
    values = run.measured_so_far((COMPARISONS, TEXT, TEXT_STEPS, TEXT_BATCH, SEEDS))
    torch.set_flush_denormal(True)  # as in the lab
    trials = Trials(run, values, plan)
    found = {name: trials.of_comparison(name) for name in COMPARISONS}
    steps = {name: run.steps or of.steps for name, of in COMPARISONS.items()}
    corpus = pretraining_corpus(TEXT.vocab_size)
    found["text"] = {
        "mixture": trials.search("text.mixture", plan.text_rates, plan.more_text, partial(bits_at, text=corpus))
    }
    results = write_results(run, values, {})
    write_rates(run, results, LAB, trials.seeds, MEASURE, {**steps, "text": TEXT_STEPS}, found)
    return results

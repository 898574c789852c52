"""A sweep of parameter-efficient fine-tuning: one pre-trained model, tuned by many methods at many learning rates.

The base is a small GPT, pre-trained on Wikipedia's openings, character by character, and tuned to the King James Bible.
Each run gives two held-out losses in nats per character: `b` on the Bible, which falls as the model learns, and `a` on
Wikipedia, which rises as it forgets. The sweep's `b` is that on the validation text, since rates are chosen by it; a
lab reports the loss on the test text.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.data.corpora.wikipedia import king_james, wikipedia_leads
from course_lib.data.loading.loader import Loader, Windows
from course_lib.data.loading.split import split_by_hash
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.interop import from_pretrained, save_pretrained
from course_lib.measure import committed_run
from course_lib.measure import device as device_of_preset
from course_lib.models import GPT, GPTConfig
from course_lib.preset import Preset, preset
from course_lib.recipes.rates import best_rate, mean_losses, mean_over_runs
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig, next_token_loss, train
from course_lib.tune.adapters import add_adapters
from course_lib.tune.bitfit import train_biases
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import add_lora
from course_lib.tune.prefix import add_prefix, reparametrize
from course_lib.tune.sparse import add_sparse

ALL = ("qkv", "out", "up", "down")  # every matrix of a block
RANKS = (1, 2, 4, 8, 16, 32)
SEEDS = (100, 101)  # every rate is tried on these, on which no other result is reported
Method = Callable[[GPT], nn.Module]  # changes the model and returns it


@dataclass(frozen=True)
class PeftPlan:
    """The sizes of a run.

    Attributes:
        model: Settings of the base model; the size of the vocabulary comes from the text.
        pretraining: Settings of the base model's training.
        steps: The number of tuning steps.
        batch: The number of windows of `model.context` characters in a step.
        scored: The number of windows of each held-out text to evaluate on.
    """

    model: GPTConfig
    pretraining: TrainConfig
    steps: int
    batch: int = 32
    scored: int = 400


PRETRAINING: dict[str, Any] = {"optimizer": "muon", "weight_decay": 0.1, "betas": (0.9, 0.95)}
PRESETS = {
    "cpu": PeftPlan(
        GPTConfig(2, context=64, d_model=64, n_layers=2, n_heads=2, position="rope"),
        TrainConfig(700, lr=2e-2, **PRETRAINING),
        steps=100,
    ),
    "gpu": PeftPlan(
        GPTConfig(2, context=256, d_model=384, n_layers=6, n_heads=6, position="rope"),
        TrainConfig(2000, lr=3e-3, **PRETRAINING),
        steps=300,
    ),
}


def lora_of_rank(rank: int, matrices: tuple[str, ...] = ALL) -> Method:
    """Return a method that adds LoRA to these matrices of the blocks, with alpha = 2 rank, so that B A is doubled."""
    return partial(add_lora, rank=rank, alpha=2.0 * rank, target_modules=matrices)


def same_budget(model: GPT) -> nn.Module:
    """Add as many random sparse entries as LoRA of rank 2 has parameters: 16 d_model per rank and layer."""
    return add_sparse(model, 32 * model.config.d_model * model.config.n_layers, ALL)


def prefix_by_a_network(model: GPT) -> nn.Module:
    """Add a prefix whose keys and values a small network gives while it is trained (Li and Liang 2021)."""
    return reparametrize(add_prefix(model, 16), model.config.d_model)


# Where to put as many numbers: per rank and layer, LoRA has 10 d_model in the feed-forward network and 6 d_model in
# attention, so that ranks 3 and 5 have 30 d_model in each.
PLACES = {"feed-forward": (3, ("up", "down")), "attention": (5, ("qkv", "out"))}


def sparse_in(matrices: tuple[str, ...]) -> Method:
    """Return a method that adds as many random sparse entries to these matrices as LoRA has in each of `PLACES`."""
    return lambda model: add_sparse(model, 30 * model.config.d_model * model.config.n_layers, matrices)


# LoRA, adapters, prefix and sparse entries train the same number of parameters, adapters up to 6% fewer, whatever
# d_model and n_layers are.
RACE = ("lora", "lora-qv", "adapters", "prefix", "sparse", "bitfit", "full")
METHODS: dict[str, Method] = {
    "lora": lora_of_rank(2),
    "lora-qv": partial(add_lora, rank=8, alpha=16.0, target_modules=("q", "v")),
    "adapters": partial(add_adapters, width=6),
    "prefix": partial(add_prefix, n=16),
    "prefix-network": prefix_by_a_network,
    "sparse": same_budget,
    "bitfit": train_biases,
    "full": lambda model: model,  # all parameters are trained
    **{f"lora-rank-{rank}": lora_of_rank(rank) for rank in RANKS if rank != 2},
    **{f"lora-{place}": lora_of_rank(rank, matrices) for place, (rank, matrices) in PLACES.items()},
    **{f"sparse-{place}": sparse_in(matrices) for place, (_, matrices) in PLACES.items()},
}
USUAL = (3e-3, 1e-2, 3e-2, 1e-1)
RATES: dict[str, tuple[float, ...]] = dict.fromkeys(METHODS, USUAL) | {
    "prefix": (1e-1, 3e-1, 1.0, 3.0),
    "full": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    **dict.fromkeys(("sparse", "sparse-feed-forward", "sparse-attention", "lora-rank-1"), (*USUAL, 3e-1)),
    "bitfit": (*USUAL, 3e-1, 1.0),
    **dict.fromkeys(("lora-rank-16", "lora-rank-32"), USUAL[:3]),
}


class TwoTexts(NamedTuple):
    """Two texts as characters, each with a test part; b also has a validation part, by which rates are chosen."""

    tokenizer: CharTokenizer
    a: Int[Tensor, " _"]
    a_test: Int[Tensor, " _"]
    b: Int[Tensor, " _"]
    b_validation: Int[Tensor, " _"]
    b_test: Int[Tensor, " _"]


def wikipedia_and_bible(device: torch.device | None = None) -> TwoTexts:
    """Load Wikipedia's openings (a) and the King James Bible (b), with a tenth of each held out.

    Half of the tenth of b is for validation, and half for testing. The split is by article and by paragraph. The
    vocabulary is that of Wikipedia, so b can have no rare characters of its own.

    Args:
        device: The device to put the texts on; None for that of the chosen preset.

    Raises:
        DataError: If the texts cannot be fetched.
    """
    wikipedia = [(article.title, article.extract) for article in wikipedia_leads()]
    bible = [(paragraph, paragraph) for paragraph in king_james().split("\n")]
    parts = []
    for pieces in (wikipedia, bible):
        for side in split_by_hash(pieces, by=lambda piece: piece[0], test=0.1):
            random.Random(0).shuffle(side)
            parts.append("\n\n".join(text for _, text in side))
    tokenizer = CharTokenizer.from_text(parts[0], min_count=500)
    a, a_test, b, b_held_out = (tokenizer.encode(part).to(device or device_of_preset()) for part in parts)
    return TwoTexts(tokenizer, a, a_test, b, *b_held_out.chunk(2))


def plan_for(text: TwoTexts, size: Preset | None = None) -> PeftPlan:
    """Return the sizes of a preset, by default the chosen one, with the vocabulary size of these texts."""
    plan = PRESETS[size or preset()]
    return replace(plan, model=replace(plan.model, vocab_size=text.tokenizer.vocab_size))


def pretrain_base(text: TwoTexts, plan: PeftPlan, seed: int) -> GPT:
    """Pre-train the base on text a.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    torch.manual_seed(seed)
    base = GPT(plan.model).to(text.a.device)
    data = Loader(Windows(text.a, plan.model.context), plan.batch, seed=seed)
    train(base, data, next_token_loss, replace(plan.pretraining, seed=seed), label="base")
    return base.eval()


class Tuned(NamedTuple):
    """A tuned model, its held-out losses on a and b in nats per character, and the cost of the training."""

    model: GPT
    a: float
    b: float
    b_validation: float
    parameters: int
    cpu_seconds: float


def tune(
    base: GPT,
    name: str,
    rate: float,
    text: TwoTexts,
    plan: PeftPlan,
    seed: int,
    prepare: Callable[[GPT], object] | None = None,
) -> Tuned:
    """Tune a copy of the base to text b; the base itself does not change.

    Args:
        base: The pre-trained model.
        name: The name of the method in METHODS.
        rate: The learning rate.
        text: Both texts.
        plan: The sizes of the run.
        seed: The seed of new parameters and batches.
        prepare: Called with the model after the method has changed it and before the first step.

    Raises:
        KeyboardInterrupt: If the user interrupts the training.
    """
    model = copy.deepcopy(base)
    torch.manual_seed(seed + 1)  # for A of LoRA, for adapters and prefixes, for the places of sparse entries
    METHODS[name](model)
    if prepare:
        prepare(model)
    began = time.process_time()
    data = Loader(Windows(text.b, plan.model.context), plan.batch, seed=seed + 1)
    config = TrainConfig(plan.steps, lr=rate, warmup_steps=plan.steps // 10)
    train(model, data, next_token_loss, config, label=f"{name} {rate:g}")
    seconds = time.process_time() - began
    n = sum(p.numel() for p in trainable_parameters(model).values())
    validation = loss_on(model, text.b_validation, plan)
    return Tuned(model, *held_out_losses(model, text, plan), validation, parameters=n, cpu_seconds=seconds)


def held_out_losses(model: GPT, text: TwoTexts, plan: PeftPlan) -> tuple[float, float]:
    """Compute the losses on both test texts, a and b, in nats per character."""
    return loss_on(model, text.a_test, plan), loss_on(model, text.b_test, plan)


@torch.no_grad()
def loss_on(model: GPT, tokens: Int[Tensor, " _"], plan: PeftPlan) -> float:
    """Compute the loss on the first windows of a text, in nats per character."""
    model.eval()
    windows = Windows(tokens, plan.model.context)
    some = torch.arange(min(plan.scored, len(windows))).split(100)
    parts = [next_token_loss(model, windows[part]) for part in some]
    return sum(float(part.total) for part in parts) / sum(int(part.n_targets) for part in parts)


def number_key(name: str, rate: float, what: str) -> str:
    """Return the key of a result of the sweep, such as "peft.sweep.lora.3e-02.b"."""
    return f"peft.sweep.{name}.{rate:.0e}.{what}"


def kept_sweep() -> dict[str, float]:
    """Return the results of the committed runs that tried every rate (preset cpu), each its mean over `SEEDS`."""
    return mean_over_runs([committed_run("peft", seed, size="cpu") for seed in SEEDS])


def best_rates() -> dict[str, float]:
    """Return each method's rate with the lowest validation loss on b in the committed runs that tried every rate."""
    losses = mean_losses([kept_sweep()], RATES, partial(number_key, what="b"))
    return {name: best_rate(of_method) for name, of_method in losses.items()}


def peft(run: Run) -> Results:
    """Tune one base by every method; the base is saved in OUT/model.

    The seeds of `SEEDS` try every method at every learning rate. Others, each with a base of its own, try every method
    at its best rate. The run's number of steps is that of tuning.
    """
    rates = RATES if run.seed in SEEDS else {name: (rate,) for name, rate in best_rates().items()}
    values = run.measured_so_far((run.choose(PRESETS), rates))
    text = wikipedia_and_bible(run.device)
    plan = plan_for(text, run.lab_preset)
    plan = replace(plan, steps=run.steps or plan.steps)
    if values:
        base = from_pretrained(run.out / "model").to(run.device).eval()
        assert isinstance(base, GPT)  # as saved below
    else:
        base = pretrain_base(text, plan, run.seed)
        save_pretrained(base, run.out / "model")
        values["peft.sweep.base.a"] = loss_on(base, text.a_test, plan)
        values["peft.sweep.base.b"] = loss_on(base, text.b_validation, plan)
        run.keep(values)
    for name in METHODS:
        for rate in rates[name]:
            if number_key(name, rate, "b") not in values:
                tuned = tune(base, name, rate, text, plan, run.seed)
                values |= {number_key(name, rate, "a"): tuned.a, number_key(name, rate, "b"): tuned.b_validation}
                run.keep(values)
    controls = {what: "peft.sweep.base.b" for what in values if what.endswith(".b") and ".base." not in what}
    return write_results(run, values, controls)

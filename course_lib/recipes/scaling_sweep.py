"""The sweep of the lab on scaling laws: models of several sizes, each trained with several budgets of operations.

    course train scaling --preset cpu --seed 100

The models are those of `labs/ch07_scaling_laws`: they see eight characters and predict the next one, with one hidden
layer, and differ in its width alone (Bengio et al. 2003). No run predicts a character twice. Each cell is trained at
several learning rates; the best is chosen on one held-out text, and the loss reported on another. The largest budget is
held out too: its losses are predicted before they are measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from course_lib.data.corpora.wikipedia import corpus
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.measure import committed_run
from course_lib.measure.scaling import ScalingLaw, fit_law
from course_lib.preset import Preset
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig
from course_lib.train.optim import lr_factor

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,;:'\"()-\n"
SEEN = 8  # characters that a model sees
CHARACTERS = len(set(ALPHABET))
EMBEDDING = 16  # numbers for each of these
BATCH = 64  # characters to predict in a step
SHORTEST = 100  # steps; with fewer, how fast a model starts counts for more than its size
UNIQUE = 4_400_000  # characters of the training text: no run may predict more
SEEDS = (100,)  # of the committed runs; no seed of the course's replications


class NextCharacter:
    """A language model that sees eight characters, with one hidden layer (Bengio et al. 2003).

    Its gradient is written by hand: for a model this small, torch spends more time on finding it than on computing it.

    Attributes:
        weights: All parameters in one vector, so that a step of the optimizer is a few operations.
        gradient: Their gradient, in the same order.
    """

    def __init__(self, width: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        """Create the model with a hidden layer of this width."""
        inputs = SEEN * EMBEDDING
        shapes = [(CHARACTERS, EMBEDDING), (inputs, width), (width,), (width, CHARACTERS), (CHARACTERS,)]
        scales = [1.0, inputs**-0.5, 0.0, width**-0.5, 0.0]
        dice = torch.Generator().manual_seed(seed)
        parts = [scale * torch.randn(*shape, generator=dice) for shape, scale in zip(shapes, scales, strict=True)]
        self.weights = torch.cat([part.flatten() for part in parts]).to(device)
        self.gradient = torch.zeros_like(self.weights)
        self.parts, self.slopes = (
            [of.view(shape) for of, shape in zip(vector.split([p.numel() for p in parts]), shapes, strict=True)]
            for vector in (self.weights, self.gradient)
        )

    def __call__(self, seen: Int[Tensor, "batch 8"]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the inputs of the hidden layer, the hidden layer, and the logits of the next character."""
        embedding, into, into_bias, out, out_bias = self.parts
        inputs = embedding[seen].flatten(1)
        hidden = torch.addmm(into_bias, inputs, into).relu_()
        return inputs, hidden, torch.addmm(out_bias, hidden, out)

    def find_gradient(self, windows: Int[Tensor, "batch 9"]) -> None:
        """Compute the gradient of the mean loss on the last character of each window."""
        _, into, _, out, _ = self.parts
        embedding_slope, into_slope, into_bias_slope, out_slope, out_bias_slope = self.slopes
        seen, wanted = windows[:, :-1], windows[:, -1:]
        inputs, hidden, logits = self(seen)
        error = logits.softmax(1)
        error.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=error.dtype)).div_(len(windows))
        torch.mm(hidden.T, error, out=out_slope)
        torch.sum(error, 0, out=out_bias_slope)
        back = torch.mm(error, out.T).mul_(hidden > 0)
        torch.mm(inputs.T, back, out=into_slope)
        torch.sum(back, 0, out=into_bias_slope)
        embedding_slope.zero_().index_add_(0, seen.flatten(), torch.mm(back, into.T).view(-1, EMBEDDING))


class Plan(NamedTuple):
    """The sizes of a run.

    Attributes:
        widths: The widths of the hidden layers.
        budgets: The budgets to fit the law on, in floating-point operations.
        held_out: The budget that is predicted.
        rates: The learning rates tried with every width and budget.
        longest: The largest number of steps; runs of small models that would take more are left out.
    """

    widths: tuple[int, ...]
    budgets: tuple[float, ...]
    held_out: float
    rates: tuple[float, ...]
    longest: int

    def cells(self, budgets: tuple[float, ...] | None = None) -> Iterator[tuple[int, float]]:
        """Yield each width and budget whose run has enough steps and enough text."""
        for budget in budgets or self.budgets:
            for width in self.widths:
                if SHORTEST <= steps_for(width, budget) <= min(self.longest, UNIQUE // BATCH - 1):
                    yield width, budget


PRESETS = {
    "cpu": Plan((4, 8, 16, 32, 64, 128), (0.25e9, 0.5e9, 1e9), 4e9, (5e-3, 1e-2, 2e-2, 4e-2, 8e-2), 2000),
    "gpu": Plan((32, 64, 128, 256, 512, 1024), (16e9, 64e9, 256e9), 1024e9, (2.5e-3, 5e-3, 1e-2, 2e-2), 32_000),
}


class Texts(NamedTuple):
    """Wikipedia's openings as windows of nine characters: to train on, to choose rates on, and to report on.

    Attributes:
        train: A window for each character to predict.
        order: The order in which every run takes them; a run of few steps stops early.
        chosen_on: Held-out windows for choosing the learning rate.
        reported_on: Held-out windows for the losses that are reported.
    """

    train: Int[Tensor, "places 9"]
    order: Int[Tensor, " places"]
    chosen_on: Int[Tensor, "windows 9"]
    reported_on: Int[Tensor, "windows 9"]


def wikipedia_in_parts(seed: int) -> Texts:
    """Load the texts: small letters, digits and a few signs.

    Args:
        seed: Of the order.

    Raises:
        DataError: If they cannot be fetched.
    """
    text = re.sub(f"[^{re.escape(ALPHABET)}]", "", corpus().lower())
    tokens = CharTokenizer.from_text(ALPHABET).encode(text)
    held_out = tokens[UNIQUE:].unfold(0, SEEN + 1, SEEN + 1)
    half = len(held_out) // 2
    windows = tokens[:UNIQUE].unfold(0, SEEN + 1, 1)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    return Texts(windows, order, held_out[:half], held_out[half:])


def size_of(width: int) -> int:
    """Count the weights of a model's matrices: 6 operations train one of them on one character.

    The embeddings are looked up and multiplied with nothing, so they do not count, nor do the biases.
    """
    return (SEEN * EMBEDDING + CHARACTERS) * width


def steps_for(width: int, budget: float) -> int:
    """Return the number of training steps that a budget pays for."""
    return int(budget / (6 * size_of(width) * BATCH))


def characters_for(width: int, budget: float) -> int:
    """Return the number of characters that a budget pays for."""
    return steps_for(width, budget) * BATCH


def learn(width: int, budget: float, rate: float, text: Texts, seed: int, where: torch.device) -> NextCharacter:
    """Train a model with Adam until the budget is spent; each character is predicted at most once.

    Raises:
        ValueError: If the text is too short for this.
    """
    steps = steps_for(width, budget)
    if steps * BATCH > len(text.order):
        raise ValueError(f"{budget:.3g} operations at width {width} take more text than there is")
    model = NextCharacter(width, seed, where)
    config = TrainConfig(steps, lr=rate, warmup_steps=steps // 20)
    mean, square = torch.zeros_like(model.weights), torch.zeros_like(model.weights)
    for step, places in enumerate(text.order[: steps * BATCH].split(BATCH)):
        model.find_gradient(text.train[places].to(where))
        keep, keep_square = config.betas
        mean.lerp_(model.gradient, 1 - keep)
        square.lerp_(model.gradient**2, 1 - keep_square)
        size = (square / (1 - keep_square ** (step + 1))).sqrt_().add_(1e-8)
        model.weights.addcdiv_(mean, size, value=-rate * lr_factor(step, config) / (1 - keep ** (step + 1)))
    return model


def loss_on(model: NextCharacter, windows: Int[Tensor, "windows 9"]) -> float:
    """Compute the mean loss on the last character of each window, in nats."""
    windows = windows.to(model.weights.device)
    losses = [
        F.cross_entropy(model(part[:, :-1])[2], part[:, -1], reduction="sum").item() for part in windows.split(4096)
    ]
    return sum(losses) / len(windows)


def number_key(width: int, budget: float, what: float | str) -> str:
    """Return the key of a result, such as "scaling.sweep.w32.0.5e9.10e-3" at a rate, or one that ends in "test"."""
    last = what if isinstance(what, str) else f"{1000 * what:g}e-3"
    return f"scaling.sweep.w{width}.{budget / 1e9:g}e9.{last}"


def best_rate(values: dict[str, float], width: int, budget: float, rates: tuple[float, ...]) -> float:
    """Return the learning rate with the lowest loss on the text for choosing."""
    return min(rates, key=lambda rate: values[number_key(width, budget, rate)])


def best_rates(size: Preset = "cpu") -> dict[tuple[int, float], float]:
    """Return the best learning rate of each width and budget, by the mean over the committed runs.

    Raises:
        DataError: If they have not been committed.
    """
    plan = PRESETS[size]
    runs = [committed_run("scaling", seed, size=size) for seed in SEEDS]
    mean = {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}
    return {cell: best_rate(mean, *cell, plan.rates) for cell in plan.cells()}


def law_of(values: dict[str, float], plan: Plan) -> ScalingLaw:
    """Fit a law to the losses of a run on the budgets that are not held out.

    Raises:
        ValueError: If none fits.
    """
    cells = list(plan.cells())
    n = torch.tensor([size_of(width) for width, _ in cells], dtype=torch.float64)
    d = torch.tensor([characters_for(*cell) for cell in cells], dtype=torch.float64)
    return fit_law(n, d, torch.tensor([values[number_key(*cell, "test")] for cell in cells], dtype=torch.float64))


def losses_of(width: int, budget: float, rate: float, text: Texts, run: Run) -> tuple[float, float]:
    """Train one model and return its loss on the text for choosing and on that for reporting."""
    model = learn(width, budget, rate, text, run.seed, run.device)
    return loss_on(model, text.chosen_on), loss_on(model, text.reported_on)


def scaling(run: Run) -> Results:
    """Train every width with every budget and rate, then predict the largest budget and measure it; keep no model."""
    plan = run.choose(PRESETS)
    values = run.measured_so_far(plan)
    text = wikipedia_in_parts(run.seed)

    def measure(width: int, budget: float, rates: tuple[float, ...]) -> None:
        test = number_key(width, budget, "test")
        lowest = min((values[key] for rate in rates if (key := number_key(width, budget, rate)) in values), default=9e9)
        for rate in rates:
            if (key := number_key(width, budget, rate)) in values:
                continue
            values[key], reported = losses_of(width, budget, rate, text, run)
            if values[key] < lowest:
                lowest, values[test] = values[key], reported
            run.keep(values)

    for cell in plan.cells():
        measure(*cell, plan.rates)
    law = law_of(values, plan)
    for width, budget in plan.cells((plan.held_out,)):
        # The rate is the one that was best at the last budget that this width had.
        before = [b for w, b in plan.cells() if w == width]
        if not before:
            continue
        values[number_key(width, budget, "predicted")] = law.loss(size_of(width), characters_for(width, budget))
        measure(width, budget, (best_rate(values, width, before[-1], plan.rates),))
    return write_results(run, values, {})

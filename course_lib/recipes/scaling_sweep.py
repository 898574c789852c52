"""The sweep of the lab on scaling laws: models of several sizes, each trained with several budgets of operations.

    course train scaling --preset cpu --seed 100     # and with 101, 102 and 103; about 8 CPU-minutes each

The models are those of `labs/ch07_scaling_laws`: they see eight characters and predict the next one, with one hidden
layer, and differ in its width alone (Bengio et al. 2003). No run predicts a character twice. Each cell, a width with a
budget, is trained at several learning rates. The best is chosen by the validation loss, and its test loss is reported.
Larger budgets are held out too: their losses are predicted before they are measured. As many models are trained at a
time as there are cores. The lab trains a part of these cells again, with another seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from course_lib.data.corpora.wikipedia import ALPHABET, lowercase_wikipedia_text
from course_lib.data.tokenizers.characters import CharTokenizer
from course_lib.measure import committed_run
from course_lib.measure.scaling import ScalingLaw, fit_law
from course_lib.preset import Preset
from course_lib.recipes.cores import on_all_cores
from course_lib.recipes.rates import best_rate, mean_losses, rate_text
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig
from course_lib.train.optim import lr_factor

CONTEXT = 8  # characters that a model sees
VOCAB_SIZE = len(ALPHABET)
EMBEDDING = 16  # the width of the embedding of a character
BATCH = 64  # characters to predict in a step
MIN_STEPS = 100  # steps; with fewer, how fast a model starts counts for more than its size
N_PROCESSES: int | None = None  # that train on a CPU; None for one on each core
TRAIN_CHARACTERS = 4_400_000  # characters of the training text: no run may predict more
SEEDS = (100, 101)  # by which the learning rates were chosen; no seed of the course's replications
KEPT = (*SEEDS, 102, 103)  # of the committed runs, from which the losses further ahead are predicted


class NextCharacter:
    """A language model that sees eight characters, with one hidden layer (Bengio et al. 2003).

    Its gradient is written by hand: for a model this small, torch spends more time on finding it than on computing it.

    Attributes:
        weights: All parameters in one vector, so that a step of the optimizer is a few operations.
        gradient: Their gradient, in the same order.
        parts: Views of `weights`: the embedding, then weights and biases of both layers.
        gradients: Views of `gradient`, in the same way.
    """

    def __init__(self, width: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        """Create the model with a hidden layer of this width."""
        inputs = CONTEXT * EMBEDDING
        shapes = [(VOCAB_SIZE, EMBEDDING), (inputs, width), (width,), (width, VOCAB_SIZE), (VOCAB_SIZE,)]
        scales = [1.0, inputs**-0.5, 0.0, width**-0.5, 0.0]
        generator = torch.Generator().manual_seed(seed)
        parts = [scale * torch.randn(*shape, generator=generator) for shape, scale in zip(shapes, scales, strict=True)]
        self.weights = torch.cat([part.flatten() for part in parts]).to(device)
        self.gradient = torch.zeros_like(self.weights)
        self.parts, self.gradients = (
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
        embedding_grad, into_grad, into_bias_grad, out_grad, out_bias_grad = self.gradients
        seen, wanted = windows[:, :-1], windows[:, -1:]
        inputs, hidden, logits = self(seen)
        error = logits.softmax(1)
        error.scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=error.dtype)).div_(len(windows))
        torch.mm(hidden.T, error, out=out_grad)
        torch.sum(error, 0, out=out_bias_grad)
        back = torch.mm(error, out.T).mul_(hidden > 0)
        torch.mm(inputs.T, back, out=into_grad)
        torch.sum(back, 0, out=into_bias_grad)
        embedding_grad.zero_().index_add_(0, seen.flatten(), torch.mm(back, into.T).view(-1, EMBEDDING))


class ScalingPlan(NamedTuple):
    """The sizes of a run.

    Attributes:
        widths: The widths of the hidden layers.
        budgets: The budgets to fit the law on, in floating-point operations.
        held_out: The budgets that are predicted.
        rates: The learning rates tried with every width and budget.
        longest: The largest number of steps; runs of small models that would take more are left out.
        further: Further widths for the last of the held-out budgets, so that its best width is neither the widest nor
            the narrowest; they may take more steps.
    """

    widths: tuple[int, ...]
    budgets: tuple[float, ...]
    held_out: tuple[float, ...]
    rates: tuple[float, ...]
    longest: int
    further: tuple[int, ...] = ()

    def cells(self, budgets: tuple[float, ...] | None = None) -> Iterator[tuple[int, float]]:
        """Yield each width and budget whose run has enough steps and enough text."""
        most = TRAIN_CHARACTERS // BATCH - 1
        for budget in self.budgets if budgets is None else budgets:
            further = self.further if budget in self.held_out[-1:] else ()
            for width in sorted({*self.widths, *further}):
                if MIN_STEPS <= steps_for(width, budget) <= (most if width in further else min(self.longest, most)):
                    yield width, budget


RATES = (1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2, 8e-2)
PRESETS = {
    "cpu": ScalingPlan(
        (4, 8, 16, 32, 64, 128, 256), (0.25e9, 0.5e9, 1e9, 2e9, 4e9), (16e9, 64e9), RATES, 8000, (64, 512, 1024)
    ),
    "gpu": ScalingPlan((32, 64, 128, 256, 512, 1024), (16e9, 64e9, 256e9), (1024e9,), RATES[1:5], 32_000),
}
# What the lab trains again, with the sweep's best rates: few enough for half a minute.
SAMPLE = ScalingPlan((4, 8, 16, 32, 64, 128), (0.25e9, 0.5e9, 1e9), (4e9,), (), 2000)


class TextParts(NamedTuple):
    """Wikipedia's openings as windows of nine characters: for training, validation and test.

    Attributes:
        train: A window for each character to predict.
        order: The order in which every run takes them; a run of few steps stops early.
        validation: Held-out windows for choosing the learning rate.
        test: Held-out windows for the losses that are reported.
    """

    train: Int[Tensor, "places 9"]
    order: Int[Tensor, " places"]
    validation: Int[Tensor, "windows 9"]
    test: Int[Tensor, "windows 9"]


@lru_cache(1)
def wikipedia_in_parts(seed: int) -> TextParts:
    """Load the texts, in lower case.

    Args:
        seed: The seed of the order.

    Raises:
        DataError: If they cannot be fetched.
    """
    tokens = CharTokenizer.from_text(ALPHABET).encode(lowercase_wikipedia_text())
    held_out = tokens[TRAIN_CHARACTERS:].unfold(0, CONTEXT + 1, CONTEXT + 1)
    half = len(held_out) // 2
    windows = tokens[:TRAIN_CHARACTERS].unfold(0, CONTEXT + 1, 1)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    return TextParts(windows, order, held_out[:half], held_out[half:])


def size_of(width: int) -> int:
    """Count the weights of a model's matrices: 6 operations train one of them on one character.

    The embeddings are looked up and multiplied with nothing, so they do not count, nor do the biases.
    """
    return (CONTEXT * EMBEDDING + VOCAB_SIZE) * width


def steps_for(width: int, budget: float) -> int:
    """Return the number of training steps that a budget pays for."""
    return int(budget / (6 * size_of(width) * BATCH))


def characters_for(width: int, budget: float) -> int:
    """Return the number of characters that a budget pays for."""
    return steps_for(width, budget) * BATCH


def learn(width: int, budget: float, rate: float, text: TextParts, seed: int, device: torch.device) -> NextCharacter:
    """Train a model with Adam until the budget is spent; each character is predicted at most once.

    Raises:
        ValueError: If the text is too short for this.
    """
    steps = steps_for(width, budget)
    if steps * BATCH > len(text.order):
        raise ValueError(f"{budget:.3g} operations at width {width} take more text than there is")
    model = NextCharacter(width, seed, device)
    config = TrainConfig(steps, lr=rate, warmup_steps=steps // 20)
    mean, square = torch.zeros_like(model.weights), torch.zeros_like(model.weights)
    for step, places in enumerate(text.order[: steps * BATCH].split(BATCH)):
        model.find_gradient(text.train[places].to(device))
        adam_step(model, mean, square, step + 1, rate * lr_factor(step, config), config.betas)
    return model


def adam_step(
    model: NextCharacter,
    mean: Float[Tensor, " weights"],
    square: Float[Tensor, " weights"],
    step: int,
    lr: float,
    betas: tuple[float, float],
) -> None:
    """Update all weights from their gradient as `adamw_update` does, with fewer operations and no weight decay.

    With the gradient by hand, a step of a small model takes half the time (`benchmarks/kernels.py`).
    """
    beta1, beta2 = betas
    mean.lerp_(model.gradient, 1 - beta1)
    square.lerp_(model.gradient**2, 1 - beta2)
    size = (square / (1 - beta2**step)).sqrt_().add_(1e-8)
    model.weights.addcdiv_(mean, size, value=-lr / (1 - beta1**step))


def loss_on(model: NextCharacter, windows: Int[Tensor, "windows 9"]) -> float:
    """Compute the mean loss on the last character of each window, in nats."""
    windows = windows.to(model.weights.device)
    losses = [
        F.cross_entropy(model(part[:, :-1])[2], part[:, -1], reduction="sum").item() for part in windows.split(4096)
    ]
    return sum(losses) / len(windows)


def number_key(width: int, budget: float, what: float | str) -> str:
    """Return the key of a result, such as "scaling.sweep.w32.0.5e9.100e-4" at a rate, or one that ends in "test"."""
    last = what if isinstance(what, str) else rate_text(what, digits=4)
    return f"scaling.sweep.w{width}.{budget / 1e9:g}e9.{last}"


def best_rates(size: Preset = "cpu") -> dict[tuple[int, float], float]:
    """Return the best learning rate of each width and budget, by the mean over the committed runs.

    Raises:
        DataError: If they have not been committed.
    """
    plan = PRESETS[size]
    runs = [committed_run("scaling", seed, size=size) for seed in SEEDS]
    rates = dict.fromkeys((*plan.cells(), *plan.cells(plan.held_out)), plan.rates)
    losses = mean_losses(runs, rates, lambda cell, rate: number_key(*cell, rate))
    return {cell: best_rate(of_cell) for cell, of_cell in losses.items()}


def law_of(values: dict[str, float], plan: ScalingPlan) -> ScalingLaw:
    """Fit a law to the losses of a run on the budgets that are not held out.

    Raises:
        ValueError: If none fits.
    """
    cells = list(plan.cells())
    n = torch.tensor([size_of(width) for width, _ in cells], dtype=torch.float64)
    d = torch.tensor([characters_for(*cell) for cell in cells], dtype=torch.float64)
    return fit_law(n, d, torch.tensor([values[number_key(*cell, "test")] for cell in cells], dtype=torch.float64))


def losses_of(cell: tuple[int, float], rate: float, run: Run) -> tuple[float, float]:
    """Train one model and return its losses on the validation and the test text."""
    text = wikipedia_in_parts(run.seed)
    model = learn(*cell, rate, text, run.seed, run.device)
    return loss_on(model, text.validation), loss_on(model, text.test)


def _task(task: tuple[tuple[int, float], float], run: Run) -> tuple[float, float]:
    return losses_of(*task, run)


def measure(cells: Iterable[tuple[int, float]], values: dict[str, float], plan: ScalingPlan, run: Run) -> None:
    """Train each cell at each rate, where that has not been done, and keep the losses."""
    todo = [(cell, rate) for cell in cells for rate in plan.rates if number_key(*cell, rate) not in values]
    n_processes = N_PROCESSES if run.device.type == "cpu" else 1
    with on_all_cores(partial(_task, run=run), todo, n_processes) as found:
        for (cell, rate), (validation, test) in zip(todo, tqdm(found, "models", len(todo)), strict=True):
            lowest = min((values[key] for r in plan.rates if (key := number_key(*cell, r)) in values), default=math.inf)
            values[number_key(*cell, rate)] = validation
            if validation < lowest:
                values[number_key(*cell, "test")] = test
            run.keep(values)


def scaling(run: Run) -> Results:
    """Train every width with every budget and rate, then predict the held-out budgets and measure them; keep no model.

    A budget says how many steps a model takes, so the run has no number of steps of its own.
    """
    plan = run.choose(PRESETS)
    values = run.measured_so_far(plan, fixed_steps=True)
    measure(plan.cells(), values, plan, run)
    law, held = law_of(values, plan), list(plan.cells(plan.held_out))
    for width, budget in held:
        values[number_key(width, budget, "predicted")] = law.loss(size_of(width), characters_for(width, budget))
    measure(held, values, plan, run)
    return write_results(run, values, {})

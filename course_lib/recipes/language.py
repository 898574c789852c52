"""Pre-training of language models on Wikipedia's openings: a GPT, or a mixture of experts and its dense equivalent."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data.corpora.pretraining import Corpus, pretraining_corpus, pretraining_corpus_file
from course_lib.data.loading.loader import Loader, Windows
from course_lib.data.tokenizers.fast_bpe import END
from course_lib.files import write_text
from course_lib.infer.generation.open_model import open_model
from course_lib.infer.generation.sampling import Sampling
from course_lib.interop import save_pretrained
from course_lib.measure import ngram_surprise
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import LLAMA_STYLE, dense_equivalent
from course_lib.nn.moe import (
    count_active_parameters,
    expert_loads,
    routings,
    update_selection_biases,
)
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run
from course_lib.train import TrainConfig, next_token_loss, read_metrics
from course_lib.train.mixture import moe_loss


@dataclass(frozen=True)
class Pretraining:
    """The model, training and data of a run.

    Attributes:
        batch: The number of windows of `model.context` tokens in a step.
        dense_lr: The learning rate of a mixture's dense equivalent; None for that of the mixture.
    """

    model: GPTConfig
    train: TrainConfig
    batch: int
    languages: tuple[str, ...] = ("en",)
    dense_lr: float | None = None


# One expert shared by all tokens, and two of the others per token, as in Qwen2-MoE: experts that get only a fraction of
# the tokens learn more slowly, which matters in runs of minutes. balanced_by_bias=True needs no load-balancing loss.
EXPERTS: dict[str, Any] = {"n_experts": 16, "top_k": 2, "norm_topk_prob": False, "shared_gate": True}
SMALL: dict[str, Any] = {"context": 128, "d_model": 96, "n_layers": 3, "n_heads": 3, **LLAMA_STYLE}
MIDDLE: dict[str, Any] = {"context": 256, "d_model": 128, "n_layers": 4, "n_heads": 4, **LLAMA_STYLE}
LARGE: dict[str, Any] = {"context": 512, "d_model": 512, "n_layers": 8, "n_heads": 8, **LLAMA_STYLE}
ADAMW: dict[str, Any] = {"weight_decay": 0.1, "betas": (0.9, 0.95)}
FAST: dict[str, Any] = {"precision": "auto", "compile": True}
THREE_LANGUAGES = ("en", "fr", "es")
PROMPTS = ("The river", "She was born in", "In the winter of", "The theory says that")  # of the report's samples
SAMPLE_TOKENS = 40
PRESETS = {
    "gpt": {
        "cpu": Pretraining(
            GPTConfig(2048, d_ff=256, **SMALL), TrainConfig(2600, lr=1e-2, optimizer="muon", **ADAMW), batch=8
        ),
        "gpu": Pretraining(
            GPTConfig(8192, d_ff=1536, **LARGE),
            TrainConfig(1000, lr=3e-3, warmup_steps=100, optimizer="muon", **FAST, **ADAMW),
            batch=32,
            languages=THREE_LANGUAGES,
        ),
    },
    "moe": {  # both with AdamW: Muon takes no stack of experts, so it would favour the dense equivalent
        "cpu": Pretraining(
            GPTConfig(2048, d_ff=64, d_shared=128, **SMALL, **EXPERTS), TrainConfig(1200, lr=6e-3, **ADAMW), batch=8
        ),
        # Three languages, since of English alone there are only a million tokens. results/rates/moe.json holds the
        # trial of both rates (`course train moe-rates --preset hour`).
        "hour": Pretraining(
            GPTConfig(4096, d_ff=80, d_shared=160, **MIDDLE, **EXPERTS),
            TrainConfig(3000, lr=4e-3, warmup_steps=100, **ADAMW),
            batch=8,
            languages=THREE_LANGUAGES,
            dense_lr=2e-3,
        ),
        "gpu": Pretraining(
            GPTConfig(8192, d_ff=384, d_shared=768, **LARGE, **EXPERTS),
            TrainConfig(1000, lr=1e-3, warmup_steps=100, **FAST, **ADAMW),
            batch=32,
            languages=THREE_LANGUAGES,
        ),
    },
}


def gpt(run: Run) -> Results:
    """Train one GPT and save it in OUT/model."""
    plan, text = _begin(run)
    values = _pretrain(run, plan, plan.model, text, "run", "model", "gpt")
    return _finish(run, text, values, {"gpt.bits-per-byte": "gpt.trigram-bits-per-byte"})


def moe(run: Run) -> Results:
    """Train a mixture of experts, and a dense model with as many active parameters per token, on the same text.

    The mixture is saved in OUT/model, its dense equivalent in OUT/dense.
    """
    plan, text = _begin(run)
    dense_lr = plan.train.lr if plan.dense_lr is None else plan.dense_lr
    dense_plan = replace(plan, train=replace(plan.train, lr=dense_lr))
    values = _pretrain(run, dense_plan, dense_equivalent(plan.model), text, "run-dense", "dense", "moe.dense")
    values |= _pretrain(run, plan, plan.model, text, "run-experts", "model", "moe.experts")
    controls = {f"moe.experts.{name}": f"moe.dense.{name}" for name in ("bits-per-byte", "tokens-per-second")}
    return _finish(run, text, values, controls)


def prepare() -> list[Path]:
    """Create the files that these recipes read, for all presets.

    Returns:
        The paths of the files.

    Raises:
        DataError: If the text cannot be fetched.
    """
    wanted = {(plan.model.vocab_size, plan.languages) for sizes in PRESETS.values() for plan in sizes.values()}
    files = []
    for vocab_size, languages in sorted(wanted):
        pretraining_corpus(vocab_size, languages)
        files.append(pretraining_corpus_file(vocab_size, languages))
    return files


@torch.no_grad()
def bits_per_byte(
    model: nn.Module,
    text: Corpus,
    tokens: Int[Tensor, " tokens"],
    context: int,
    batch: int = 32,
) -> float:
    """Compute the model's cross-entropy in bits per byte over consecutive windows that do not overlap.

    Tokens after the last whole window are not read.

    Args:
        model: A model in eval mode that reads windows of ids.
        text: The corpus of the tokens, which gives their lengths in bytes.
        tokens: The tokens to predict; the first one is only read.
        context: The number of tokens in a window.
        batch: The number of windows to read at a time.
    """
    device = next(model.parameters(), tokens).device  # a model may have no parameters, as a blind guess
    windows, nats = Windows(tokens, context), 0.0
    parts = torch.arange(len(windows)).split(batch)
    for some in tqdm(parts, desc="evaluating", delay=1.0, mininterval=0.5, leave=False):
        nats += next_token_loss(model, windows[some].to(device)).total.item()
    return text.bits_per_byte(nats, tokens[1 : len(windows) * context + 1])


def _begin(run: Run) -> tuple[Pretraining, Corpus]:
    """Claim the run's folder, and return the settings of its preset and the text to read."""
    plan = run.choose(PRESETS[run.recipe])
    run.claim_folder(plan)
    return plan, pretraining_corpus(plan.model.vocab_size, plan.languages)


def train_model(run: Run, plan: Pretraining, config: GPTConfig, text: Corpus, stage: str, label: str) -> GPT:
    """Train a model of a run in the folder `stage`, with its validation metrics along the way.

    Raises:
        Stopped: If the user interrupts the training.
    """
    torch.manual_seed(run.seed)
    model = GPT(config).to(run.device)
    some = text.validation[: 64 * config.context + 1]

    run.train(
        model,
        Loader(Windows(text.train.to(run.device), config.context), plan.batch, seed=run.seed),
        moe_loss if config.n_experts and not config.balanced_by_bias else next_token_loss,
        plan.train,
        folder=stage,
        label=label,
        validate=lambda: {"validation": bits_per_byte(model, text, some, config.context)},
        after_step=(lambda step, metrics: update_selection_biases(model)) if config.balanced_by_bias else None,
    )
    return model


def _pretrain(
    run: Run, plan: Pretraining, config: GPTConfig, text: Corpus, stage: str, folder: str, key: str
) -> dict[str, float]:
    """Train a model in the folder `stage` and save it with its tokenizer in `folder`.

    Returns:
        The measurements, by key: bits per byte on the test text, speed and sizes; none in an estimate.
    """
    model = train_model(run, plan, config, text, stage, key)
    if run.estimating:
        return {}
    steps = [line for line in read_metrics(run.out / stage / "metrics.jsonl") if "seconds" in line]
    values = {
        "bits-per-byte": bits_per_byte(model, text, text.test, config.context),
        "tokens-per-second": statistics.median(line["targets"] / line["seconds"] for line in steps),
        "parameters": sum(p.numel() for p in model.parameters()),
        "active-parameters": count_active_parameters(model),
    }
    if config.n_experts:
        windows = Windows(text.test, config.context)
        with torch.no_grad():
            model(windows[torch.arange(min(64, len(windows)))][:, :-1].to(run.device))
        loads = [expert_loads(routing).max().item() for routing in routings(model)]
        values["busiest-expert"] = config.n_experts * max(loads)
    save_pretrained(model, run.out / folder)
    text.tokenizer.save(run.out / folder)
    end = text.tokenizer.special_id(END)  # the token at which `generate` of transformers should stop
    generation = {"bos_token_id": end, "eos_token_id": end}
    write_text(run.out / folder / "generation_config.json", json.dumps(generation) + "\n")
    return {f"{key}.{name}": value for name, value in values.items()}


def _finish(run: Run, text: Corpus, values: dict[str, float], controls: dict[str, str]) -> Results:
    """Add the n-gram models to the results, and samples of the model in OUT/model; an estimate has none of it."""
    if run.estimating:
        return write_results(run, {}, {})
    return write_results(run, values | _ngram_controls(run.recipe, text), controls, _samples(run))


def _samples(run: Run) -> list[tuple[str, str]]:
    """Let the saved model continue PROMPTS, as `course generate` would."""
    model = open_model(run.out / "model")
    some = Sampling(temperature=0.8)  # a little below 1, so that fewer of the unlikely tokens come
    return [(prompt, "".join(model.stream(prompt, SAMPLE_TOKENS, some, seed=run.seed))) for prompt in PROMPTS]


def _ngram_controls(recipe: str, text: Corpus) -> dict[str, float]:
    """Compute the bits per byte of n-gram models of the training text, as controls."""
    values = {}
    for n, name in ((1, "unigram"), (3, "trigram")):
        nats = ngram_surprise(text.train, text.test, len(text.n_bytes), n).sum().item()
        values[f"{recipe}.{name}-bits-per-byte"] = text.bits_per_byte(nats, text.test)
    return values

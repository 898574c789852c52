"""Pre-training of language models on Wikipedia's openings: one GPT, or a mixture of experts beside its dense twin."""

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
from course_lib.interop import save_pretrained
from course_lib.measure import device, ngram_surprise
from course_lib.models import GPT, GPTConfig, dense_twin
from course_lib.nn.moe import (
    count_active_parameters,
    expert_loads,
    load_balancing_loss,
    router_z_loss,
    routings,
    update_selection_biases,
)
from course_lib.recipes.results import Results, write_results
from course_lib.recipes.run import Run, Stopped
from course_lib.train import Loss, RunFolder, TrainConfig, next_token_loss, read_metrics, train


@dataclass(frozen=True)
class Pretraining:
    """What a run builds, reads and does. batch: windows of `model.context` tokens to a step."""

    model: GPTConfig
    train: TrainConfig
    batch: int
    languages: tuple[str, ...] = ("en",)


LLAMA: dict[str, Any] = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}
# One expert for all tokens, and of the others two to a token, as in Qwen2-MoE: experts that a fraction of the tokens
# comes to learn more slowly, and in minutes that shows. balanced_by_bias=True does without the loss that balances.
EXPERTS: dict[str, Any] = {"n_experts": 16, "top_k": 2, "norm_topk_prob": False, "shared_gate": True}
SMALL: dict[str, Any] = {"context": 128, "d_model": 96, "n_layers": 3, "n_heads": 3, **LLAMA}
LARGE: dict[str, Any] = {"context": 512, "d_model": 512, "n_layers": 8, "n_heads": 8, **LLAMA}
RATES: dict[str, Any] = {"weight_decay": 0.1, "betas": (0.9, 0.95)}
FAST: dict[str, Any] = {"precision": "auto", "compile": True}
THREE = ("en", "fr", "es")
PRESETS = {
    "gpt": {
        "cpu": Pretraining(
            GPTConfig(2048, d_ff=256, **SMALL), TrainConfig(2600, lr=1e-2, optimizer="muon", **RATES), batch=8
        ),
        "gpu": Pretraining(
            GPTConfig(8192, d_ff=1536, **LARGE),
            TrainConfig(1000, lr=3e-3, warmup=100, optimizer="muon", **FAST, **RATES),
            batch=32,
            languages=THREE,
        ),
    },
    "moe": {  # both with AdamW: Muon takes no stack of experts, so it would favour the dense twin
        "cpu": Pretraining(
            GPTConfig(2048, d_ff=64, d_shared=128, **SMALL, **EXPERTS), TrainConfig(1200, lr=6e-3, **RATES), batch=8
        ),
        "gpu": Pretraining(
            GPTConfig(8192, d_ff=384, d_shared=768, **LARGE, **EXPERTS),
            TrainConfig(1000, lr=1e-3, warmup=100, **FAST, **RATES),
            batch=32,
            languages=THREE,
        ),
    },
}


def gpt(run: Run) -> Results:
    """Train one GPT; its folder is OUT/model."""
    plan = _plan(run)
    run.claim_folder(plan)
    text = pretraining_corpus(plan.model.vocab_size, plan.languages)
    model, values = _pretrain(run, plan, text, run.out / "run", "gpt")
    _save(model, text, run.out / "model")
    values |= _ngram_controls(text, "gpt", ngrams=(1, 3))
    return write_results(run, values, controls={"gpt.bits-per-byte": "gpt.trigram-bits-per-byte"})


def moe(run: Run) -> Results:
    """Train a mixture of experts, and a dense model whose tokens meet as many parameters, on the same text.

    OUT/model is the mixture, OUT/dense its dense twin.
    """
    plan = _plan(run)
    run.claim_folder(plan)
    text = pretraining_corpus(plan.model.vocab_size, plan.languages)
    values: dict[str, float] = {}
    for name, folder, config in (("dense", "dense", dense_twin(plan.model)), ("experts", "model", plan.model)):
        part = replace(plan, model=config)
        model, measured = _pretrain(run, part, text, run.out / f"run-{name}", f"moe.{name}")
        _save(model, text, run.out / folder)
        values |= measured
    values |= _ngram_controls(text, "moe", ngrams=(1,))
    controls = {f"moe.experts.{name}": f"moe.dense.{name}" for name in ("bits-per-byte", "tokens-per-second")}
    return write_results(run, values, controls)


def prepare() -> list[Path]:
    """Make what these recipes read, for all presets.

    Returns:
        The files.

    Raises:
        DataError: The text cannot be fetched.
    """
    wanted = {(plan.model.vocab_size, plan.languages) for sizes in PRESETS.values() for plan in sizes.values()}
    for vocab_size, languages in sorted(wanted):
        pretraining_corpus(vocab_size, languages)
    return [pretraining_corpus_file(*what) for what in sorted(wanted)]


def balanced(model: nn.Module, windows: torch.Tensor, balancing: float = 0.01, z: float = 0.001) -> Loss:
    """The surprise at each next token, and what keeps the experts equally busy and the router's numbers small.

    balancing: as Fedus et al. 2021, section 2.2; z: as Zoph et al. 2022, section 3.3. Each is a mean over the layers.
    """
    loss = next_token_loss(model, windows)
    found = routings(model)
    extra = sum(
        balancing * load_balancing_loss(routing.logits, routing.experts.shape[1]) + z * router_z_loss(routing.logits)
        for routing in found
    )
    return Loss(loss.total + extra / len(found) * loss.targets, loss.targets)


@torch.no_grad()
def bits_per_byte(
    model: nn.Module,
    text: Corpus,
    tokens: Int[Tensor, " tokens"],
    context: int,
    batch: int = 32,
    where: torch.device | None = None,
) -> float:
    """The model's surprise at some tokens, in windows that lie end to end; what is left at the end is not read.

    Args:
        model: Reads windows of ids, and is in eval mode.
        text: The corpus that the tokens are of, which knows their bytes.
        tokens: What to predict; the first one is only read.
        context: Tokens in a window.
        batch: Windows at once.
        where: The device of the model; by default that of the chosen preset.
    """
    windows, nats = Windows(tokens, context), 0.0
    parts = torch.arange(len(windows)).split(batch)
    for some in tqdm(parts, desc="evaluating", delay=1.0, mininterval=0.5, leave=False):
        nats += next_token_loss(model, windows[some].to(where or device())).total.item()
    return text.bits_per_byte(nats, tokens[1 : len(windows) * context + 1])


def _plan(run: Run) -> Pretraining:
    plan = run.pick(PRESETS[run.recipe])
    return replace(plan, train=replace(plan.train, seed=run.seed, steps=run.steps or plan.train.steps))


def _pretrain(run: Run, plan: Pretraining, text: Corpus, folder: Path, key: str) -> tuple[GPT, dict[str, float]]:
    """Train, or read what was trained before an interrupt; the model in eval mode, and what it scores on the test."""
    torch.manual_seed(plan.train.seed)
    model = GPT(plan.model).to(run.device)
    context, steps, experts = plan.model.context, plan.train.steps, plan.model.n_experts
    by_bias = plan.model.balanced_by_bias

    def score(tokens: Int[Tensor, " tokens"]) -> float:
        return bits_per_byte(model, text, tokens, context, where=run.device)

    history = train(
        model,
        Loader(Windows(text.train.to(run.device), context), plan.batch, seed=plan.train.seed),
        balanced if experts and not by_bias else next_token_loss,
        plan.train,
        label=key,
        folder=RunFolder(folder, resume=run.resume, every=max(1, steps // 10), again=f"run: {run.resume_command}"),
        validate=lambda: {"validation": score(text.validation[: 64 * context + 1])},
        validate_every=max(1, steps // 8),
        after_step=(lambda: update_selection_biases(model)) if by_bias else None,
    )
    if history.interrupted:
        raise Stopped
    model.eval()
    steps_noted = [line for line in read_metrics(folder / "metrics.jsonl") if "seconds" in line]
    values = {
        "bits-per-byte": score(text.test),
        "tokens-per-second": statistics.median(line["targets"] / line["seconds"] for line in steps_noted),
        "parameters": sum(p.numel() for p in model.parameters()),
        "active-parameters": count_active_parameters(model),
    }
    if experts:
        windows = Windows(text.test, context)
        with torch.no_grad():
            model(windows[torch.arange(min(64, len(windows)))][:, :-1].to(run.device))
        values["busiest-expert"] = experts * max(expert_loads(routing).max().item() for routing in routings(model))
    return model, {f"{key}.{name}": value for name, value in values.items()}


def _ngram_controls(text: Corpus, key: str, ngrams: tuple[int, ...]) -> dict[str, float]:
    """The controls: how surprised somebody is who has counted all runs of n tokens, and reads the n - 1 before."""
    names = {1: "unigram", 2: "bigram", 3: "trigram"}
    nats = {n: ngram_surprise(text.train, text.test, len(text.n_bytes), n).sum().item() for n in ngrams}
    return {f"{key}.{names[n]}-bits-per-byte": text.bits_per_byte(nats[n], text.test) for n in ngrams}


def _save(model: GPT, text: Corpus, folder: Path) -> None:
    """Write the model's folder, with its tokenizer, and where `generate` of transformers is to stop."""
    save_pretrained(model, folder)
    text.tokenizer.save(folder)
    end = text.tokenizer.special_id(END)
    write_text(folder / "generation_config.json", json.dumps({"bos_token_id": end, "eos_token_id": end}) + "\n")

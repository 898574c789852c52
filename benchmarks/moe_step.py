# .venv/bin/python benchmarks/moe_step.py                    (--help for sizes; --json FILE keeps every single time)
"""A training step of a mixture of experts, against the dense model in which a token meets as many parameters.

Ours through course_lib.train, transformers (Mixtral with grouped_mm) and litgpt have the same weights; so have the two
dense models, ours and transformers' Llama. In float32 and with products in bfloat16, not compiled. No balancing loss.
litgpt is left out, by name, where it is not installed.
"""

from __future__ import annotations

import functools
import tempfile
from typing import Any

import torch
import torch.nn.functional as F
import transformers as hf
from side_by_side import begin, record, table, write
from torch import Tensor, nn
from training import Contestant, compare, options

from course_lib.interop import to_hf
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import LLAMA_STYLE, dense_equivalent
from course_lib.train import next_token_loss

FULL = {"d_model": 256, "n_layers": 4, "n_heads": 4, "vocab_size": 8192, "d_ff": 512}
TINY = {"d_model": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 64, "d_ff": 16}
EXPERTS, TOP_K = 8, 2
DENSE = "dense, transformers"


def contestants(size: dict[str, int], context: int) -> dict[str, Contestant]:
    """All models by name, the dense ones first."""
    config = GPTConfig(**size, **LLAMA_STYLE, n_experts=EXPERTS, top_k=TOP_K)
    ours, dense = GPT(config), GPT(dense_equivalent(config))
    mixtral, llama = in_transformers(ours), in_transformers(dense)
    mixtral.set_experts_implementation("grouped_mm")
    found = {
        DENSE: Contestant(llama, loss_of_theirs, llama.model.norm, same="dense"),
        "dense, course_lib": Contestant(dense, next_token_loss, dense.norm, ours=True, same="dense"),
        "transformers": Contestant(mixtral, loss_of_theirs, mixtral.model.norm),
    }
    try:
        lit = in_litgpt(ours, context)
        found["litgpt"] = Contestant(lit, loss_of_litgpt, lit.transformer.ln_f)
    except ImportError:
        print("litgpt is not installed, so it is left out; see benchmarks/README.md")
    return found | {"course_lib": Contestant(ours, next_token_loss, ours.norm, ours=True)}


def in_transformers(ours: GPT) -> Any:
    """Our model in transformers, with the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        to_hf(ours, folder)
        theirs = hf.AutoModelForCausalLM.from_pretrained(folder)
    theirs.config.use_cache = False
    return theirs


def in_litgpt(ours: GPT, context: int) -> Any:
    """Our model in litgpt, with the same weights."""
    from litgpt.model import GPT as LitGPT
    from litgpt.model import Config

    c = ours.config
    config = Config(
        block_size=context,
        vocab_size=c.vocab_size,
        padded_vocab_size=c.vocab_size,
        n_layer=c.n_layers,
        n_head=c.n_heads,
        n_embd=c.d_model,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=c.norm_eps,
        mlp_class_name="LLaMAMoE",
        intermediate_size=c.d_ff,
        n_expert=c.n_experts,
        n_expert_per_token=c.top_k,
        rope_base=int(c.rope_theta),
    )
    lit = LitGPT(config)
    lit.lm_head.weight = lit.transformer.wte.weight  # tied, as ours
    pairs = [(lit.transformer.wte.weight, ours.token_embedding.weight), (lit.transformer.ln_f.weight, ours.norm.weight)]
    for theirs, mine in zip(lit.transformer.h, ours.blocks, strict=True):
        pairs += [
            (theirs.norm_1.weight, mine.norm1.weight),
            (theirs.norm_2.weight, mine.norm2.weight),
            (theirs.attn.qkv.weight, mine.attention.qkv.weight),
            (theirs.attn.proj.weight, mine.attention.out.weight),
            (theirs.mlp.gate.weight, mine.feed_forward.router.weight),
        ]
        for i, expert in enumerate(theirs.mlp.experts):
            pairs += [
                (expert.fc_1.weight, mine.feed_forward.gate[i]),
                (expert.fc_2.weight, mine.feed_forward.up[i]),
                (expert.proj.weight, mine.feed_forward.down[i]),
            ]
    for target, source in pairs:
        target.data.copy_(source)
    return lit


def loss_of_theirs(model: nn.Module, windows: Tensor) -> Tensor:
    """The next-token loss of a model of transformers."""
    return F.cross_entropy(model(windows[:, :-1]).logits.flatten(0, 1), windows[:, 1:].flatten())


def loss_of_litgpt(model: nn.Module, windows: Tensor) -> Tensor:
    """The next-token loss of a model of litgpt."""
    return F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())


def main() -> None:
    """Compare in each precision, and print a table for each."""
    args = options(__doc__).parse_args()
    here = begin("torch", "transformers", "litgpt")
    size, batch, context = (TINY, 4, 16) if args.tiny else (FULL, 8, 256)
    torch.manual_seed(0)
    batches = [torch.randint(size["vocab_size"], (batch, context + 1)) for _ in range(args.steps)]
    tokens = args.steps * batch * context
    make, runs = functools.partial(contestants, size, context), {}
    for precision in args.precision:
        title = f"{precision}, eager, {batch} x {context} tokens a step, {EXPERTS} experts, top {TOP_K}"
        print(title)
        timings = compare(make, batches, precision, False, args.rounds, not args.tiny)
        print(table("", timings, DENSE, tokens, "tokens"), "\n", flush=True)
        runs[title] = record(timings, DENSE, tokens, "tokens")
    write(args, here, runs, size=size)


if __name__ == "__main__":
    main()

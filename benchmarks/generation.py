# .venv/bin/python benchmarks/generation.py                  (--help for sizes; --json FILE keeps every single time)
"""Greedy generation with a cache, ours against transformers with the same weights: float32, not compiled.

A GPT-2 of 6 layers x 384 goes on from 16 tokens for 256 more, in a batch of 1 and of 16; SmolLM2-135M for 64, alone.
Equal work is checked before anything is timed: the same tokens. transformers keeps its cache in two ways: one that
grows, its default, and one with all room taken at once.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import transformers as hf
from side_by_side import begin, parser, record, side_by_side, table, write
from torch import Tensor

from course_lib.infer.generation.generate import complete
from course_lib.infer.generation.sampling import GREEDY
from course_lib.interop import from_pretrained, smollm2, to_hf
from course_lib.models import GPT

PROMPT = 16
FULL = {"d": 384, "layers": 6, "heads": 6, "vocab": 8192, "new": 256, "batch": 16, "smollm2": 64}
TINY = {"d": 32, "layers": 2, "heads": 2, "vocab": 64, "new": 8, "batch": 2, "smollm2": 4}


def gpt2(size: dict[str, int]) -> tuple[Any, GPT]:
    """A random GPT-2 in both libraries, with weights so large that no two logits are nearly equal."""
    config = hf.GPT2Config(
        vocab_size=size["vocab"],
        n_positions=PROMPT + size["new"],
        n_embd=size["d"],
        n_layer=size["layers"],
        n_head=size["heads"],
        initializer_range=0.1,
    )
    theirs = hf.GPT2LMHeadModel(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return theirs, from_pretrained(folder)


def smollm2_twice() -> tuple[Any, GPT]:
    """The published model in both libraries."""
    ours, _ = smollm2()
    with tempfile.TemporaryDirectory() as folder:
        to_hf(ours, folder)
        return hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), ours


def of_transformers(model: Any, ids: Tensor, new: int, **options: Any) -> list[list[int]]:
    """The new tokens that transformers writes, with `options` for its `generate`."""
    with torch.inference_mode():
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new, eos_token_id=None,
            pad_token_id=0, use_cache=True, **options,
        )  # fmt: skip
    return found[:, ids.shape[1] :].tolist()


def compare(theirs: Any, ours: GPT, ids: Tensor, new: int, rounds: int) -> Any:
    """Time ways to write `new` tokens, after checking that all write the same ones."""
    contestants = {
        "transformers": lambda: of_transformers(theirs, ids, new),
        "transformers, static cache": lambda: of_transformers(
            theirs, ids, new, cache_implementation="static", disable_compile=True
        ),
        "course_lib": lambda: complete(ours, ids.tolist(), new, GREEDY),
    }
    peer, *others = [call() for call in contestants.values()]
    for name, texts in zip(list(contestants)[1:], others, strict=True):
        assert texts == peer, f"{name} writes other tokens than transformers"
    assert all(len(text) == new for text in peer)
    return side_by_side(contestants, rounds)


def main() -> None:
    """Compare all models and batches, and print a table for each."""
    args = parser(__doc__).parse_args()
    here = begin("torch", "transformers")
    size = TINY if args.tiny else FULL
    torch.manual_seed(0)
    small = gpt2(size)
    name = f"{size['layers']} layers x {size['d']}"
    cases = [(f"{name}, batch {n}", small, n, size["new"]) for n in (1, size["batch"])]
    cases.append(("SmolLM2-135M, batch 1", small if args.tiny else smollm2_twice(), 1, size["smollm2"]))
    runs = {}
    for title, (theirs, ours), batch, new in cases:
        ids = torch.randint(ours.config.vocab_size, (batch, PROMPT))
        timings = compare(theirs, ours, ids, new, args.rounds)
        title = f"{title}, {new} tokens after {PROMPT}, fp32"
        print(table(title, timings, "transformers", batch * new, "tokens"), "\n", flush=True)
        runs[title] = record(timings, "transformers", batch * new, "tokens")
    write(args, here, runs, size=size)


if __name__ == "__main__":
    main()

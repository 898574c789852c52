# .venv/bin/python benchmarks/quantized.py                   (--help for sizes; --json FILE keeps every single time)
"""SmolLM2-135M with weights in 8 and 4 bits, one text at a time: speed, memory and loss beside float32.

Greedy generation of 64 tokens after 16, with a cache; transformers in float32 is the peer. That ours writes the same
tokens in float32 is checked before anything is timed; what rounding costs is the loss on openings of Wikipedia articles
that no run has chosen, with the standard error of its difference to float32.
The published file keeps its own weights in 4 bits, with an offset for each 32. Four bits in groups of 32 find those
again and lose next to nothing; groups of 64 show what four bits cost other weights.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from generation import GREEDY, PROMPT, TINY, gpt2, of_transformers, smollm2_twice
from side_by_side import begin, parser, record, side_by_side, table, write
from torch import Tensor

from course_lib.data.corpora.wikipedia import wikipedia_leads
from course_lib.data.tokenizers.pretrained import smollm2_tokenizer as tokenizer
from course_lib.infer.generation.generate import complete
from course_lib.infer.quantization import linear
from course_lib.infer.quantization.quantize import quantize, weight_bytes
from course_lib.models import GPT

NEW = 64
BITS: dict[str, dict[str, int]] = {
    "int8": {"bits": 8},
    "int4, groups of 32": {"bits": 4, "group": 32},
    "int4, groups of 64": {"bits": 4, "group": 64},
}


def openings(articles: int, tokens: int) -> Tensor:
    """The first tokens of articles, evenly taken from all that are long enough: Int "articles tokens"."""
    texts = [article.extract for article in wikipedia_leads("en") if len(article.extract) > 8 * tokens]
    encoded = [tokenizer().encode(text).ids[: tokens + 1] for text in texts[:: len(texts) // articles][:articles]]
    return torch.tensor([ids for ids in encoded if len(ids) == tokens + 1])


@torch.inference_mode()
def losses(model: GPT, rows: Tensor) -> Tensor:
    """The loss of every token in nats, computed with the kernels that generation uses."""
    few = linear.MAX_KERNEL_ROWS
    linear.MAX_KERNEL_ROWS = rows.shape[1]
    try:
        return torch.cat([F.cross_entropy(model(row[None, :-1])[0], row[1:], reduction="none") for row in rows])
    finally:
        linear.MAX_KERNEL_ROWS = few


def qualities(models: dict[str, GPT], rows: Tensor) -> dict[str, dict[str, float]]:
    """What each model costs: megabytes of weights, and nats a token.

    Returns:
        For each model also the difference of its nats to those of the first one, and the standard error of that.
    """
    found, first = {}, None
    for name, model in models.items():
        loss = losses(model, rows)
        first = loss if first is None else first
        difference = loss - first
        found[name] = {
            "megabytes": weight_bytes(model) / 1e6,
            "nats": loss.mean().item(),
            "difference": difference.mean().item(),
            "standard error": difference.std().item() / len(loss) ** 0.5,
        }
    return found


def main() -> None:
    """Compare speed, memory and loss, and print a table of each."""
    options = parser(__doc__)
    options.add_argument("--articles", type=int, default=32, help="of which 128 tokens each are read for the loss")
    args = options.parse_args()
    here = begin("torch", "transformers")
    torch.manual_seed(0)
    theirs, ours = gpt2({**TINY, "d": 64}) if args.tiny else smollm2_twice()
    new = TINY["new"] if args.tiny else NEW
    rows = torch.randint(TINY["vocab"], (2, 9)) if args.tiny else openings(args.articles, 128)
    models = {"course_lib": ours, **{name: quantize(copy.deepcopy(ours), **bits) for name, bits in BITS.items()}}

    quality = qualities(models, rows)
    print(f"{'':28} {'MB':>7} {'nats/token':>11}   difference to float32, over {rows[:, 1:].numel()} tokens")
    for name, q in quality.items():
        print(f"{name:28} {q['megabytes']:7.1f} {q['nats']:11.4f}   {q['difference']:+.4f} ± {q['standard error']:.4f}")

    ids = torch.randint(ours.config.vocab_size, (1, PROMPT))
    assert complete(ours, ids.tolist(), new, GREEDY) == of_transformers(theirs, ids, new), "float32 writes other tokens"
    contestants: dict[str, Any] = {"transformers": lambda: of_transformers(theirs, ids, new)}
    contestants |= {
        name: lambda model=model: complete(model, ids.tolist(), new, GREEDY) for name, model in models.items()
    }
    timings = side_by_side(contestants, args.rounds)
    title = f"{'GPT-2, tiny' if args.tiny else 'SmolLM2-135M'}, batch 1, {new} tokens after {PROMPT}"
    print("\n" + table(title, timings, "transformers", new, "tokens"), flush=True)
    write(args, here, {title: record(timings, "transformers", new, "tokens")}, quality=quality)


if __name__ == "__main__":
    main()

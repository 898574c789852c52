# .venv/bin/python benchmarks/pretrain_step.py               (--help for sizes; --json FILE keeps every single time)
"""A step of pre-training GPT-2: ours through course_lib.train, transformers, and a plain loop in the style of nanoGPT.

All three have the same weights, the same batches and fused AdamW. Twice: in float32, and compiled with matrix products
in bfloat16. Before that, parameters, FLOPs and starting losses are checked, and the residual stream's dtype is said.
"""

from __future__ import annotations

import functools
import tempfile

import torch
import torch.nn.functional as F
import transformers as hf
from side_by_side import begin, record, table, write
from torch import Tensor, nn
from training import Contestant, compare, options

from course_lib.interop import from_pretrained
from course_lib.train import next_token_loss

FULL = {"d": 384, "layers": 6, "heads": 6, "vocab": 8192, "context": 256}
TINY = {"d": 32, "layers": 2, "heads": 2, "vocab": 64, "context": 16}


class PlainBlock(nn.Module):
    """A pre-norm block with one matrix for queries, keys and values, and GELU in its tanh form."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(d, dim=2)
        q, k, v = (part.view(b, t, self.heads, d // self.heads).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).contiguous().view(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class PlainGPT(nn.Module):
    """GPT-2 in the style of a single short file: nothing is checked, and nothing optional."""

    def __init__(self, d: int, layers: int, heads: int, vocab: int, context: int) -> None:
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocab, d), nn.Embedding(context, d)
        self.blocks = nn.ModuleList(PlainBlock(d, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, vocab, bias=False)
        self.lm_head.weight = self.token_embedding.weight

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.position_embedding(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


def contestants(size: dict[str, int]) -> dict[str, Contestant]:
    """The same GPT-2 in three forms: transformers, plain, and ours."""
    config = hf.GPT2Config(
        vocab_size=size["vocab"],
        n_positions=size["context"],
        n_embd=size["d"],
        n_layer=size["layers"],
        n_head=size["heads"],
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        use_cache=False,
    )
    theirs = hf.GPT2LMHeadModel(config)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = from_pretrained(folder)
    plain = PlainGPT(**size)
    names = {".attention": "", ".feed_forward": "", "position.": "position_embedding."}
    state = {}
    for name, tensor in ours.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = tensor
    plain.load_state_dict(state)

    def loss_of_plain(model: nn.Module, windows: Tensor) -> Tensor:
        return model(windows[:, :-1], windows[:, 1:])

    def loss_of_theirs(model: nn.Module, windows: Tensor) -> Tensor:
        targets = windows[:, 1:].contiguous()
        return model(windows[:, :-1], labels=targets, shift_labels=targets).loss  # inside, where it is compiled too

    return {
        "plain loop": Contestant(plain, loss_of_plain, plain.norm),
        "transformers": Contestant(theirs, loss_of_theirs, theirs.transformer.ln_f),
        "course_lib": Contestant(ours, next_token_loss, ours.norm, ours=True),
    }


def main() -> None:
    """Compare in float32 and compiled in bfloat16, and print a table for each."""
    args = options(__doc__).parse_args()
    here = begin("torch", "transformers")
    size, batch = (TINY, 2) if args.tiny else (FULL, 8)
    torch.manual_seed(0)
    shape = (batch, size["context"] + 1)
    batches = [torch.randint(size["vocab"], shape) for _ in range(args.steps)]
    tokens = args.steps * batch * size["context"]
    make, runs = functools.partial(contestants, size), {}
    for precision in args.precision:
        compiled = precision == "bf16" and not args.tiny  # which would take longer than all the rest
        title = f"{precision}, {'compiled' if compiled else 'eager'}, {batch} x {size['context']} tokens a step"
        print(title)
        timings = compare(make, batches, precision, compiled, args.rounds, not args.tiny)
        print(table("", timings, "plain loop", tokens, "tokens"), "\n", flush=True)
        runs[title] = record(timings, "plain loop", tokens, "tokens")
    write(args, here, runs, size=size)


if __name__ == "__main__":
    main()

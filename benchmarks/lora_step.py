# .venv/bin/python benchmarks/lora_step.py                   (--help for sizes; --json FILE keeps every single time)
"""A step of LoRA, rank 8: ours through course_lib.train, peft, and full fine-tuning.

Twice: GPT-2's style, whose queries, keys and values come from one matrix, which peft gives one pair; and Llama's, where
queries and values have a pair each. The frozen weights and the pairs are the same, and so are losses and steps. In
float32 and with products in bfloat16, not compiled. Before the clock runs: parameters, FLOPs, starting losses, and how
many bytes gradients, optimizer and what the backward pass needs take.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from typing import Any

import peft
import torch
import transformers as hf
from side_by_side import begin, record, table, write
from torch import Tensor, nn
from training import Contestant, compare, mean_loss, options

from course_lib.interop import to_hf
from course_lib.measure import saved_for_backward
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import LLAMA_STYLE
from course_lib.train import next_token_loss
from course_lib.tune.adapter_files import load_adapter
from course_lib.tune.lora import add_lora

FULL = {"d_model": 384, "n_layers": 6, "n_heads": 6, "vocab_size": 8192, "context": 256}
TINY = {"d_model": 32, "n_layers": 2, "n_heads": 2, "vocab_size": 64, "context": 16}
RANK, ALPHA = 8, 16
STYLES: dict[str, dict[str, Any]] = {
    "GPT-2": {},
    "Llama": LLAMA_STYLE,
}
# The same function as transformers' gelu_new, in one kernel, as ours.
FASTEST: dict[str, dict[str, Any]] = {"GPT-2": {"activation_function": "gelu_pytorch_tanh"}, "Llama": {}}
TARGETS = {"GPT-2": ["c_attn"], "Llama": ["q_proj", "v_proj"]}


def contestants(size: dict[str, int], style: str) -> dict[str, Contestant]:
    """Peft's LoRA, ours with the same A and B, and full fine-tuning.

    Args:
        size: Settings of the model.
        style: "GPT-2" or "Llama".
    """
    hf.logging.set_verbosity_error()  # also in a process of its own
    full = GPT(GPTConfig(**size, **STYLES[style]))
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as small:
        to_hf(full, whole)
        theirs: Any = hf.AutoModelForCausalLM.from_pretrained(whole, **FASTEST[style])
        theirs.config.use_cache = False
        theirs = peft.get_peft_model(
            theirs,
            peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS[style], fan_in_fan_out=style == "GPT-2"),
        )
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:  # not zero, so that the losses show whether the pairs are the same
                nn.init.normal_(parameter, std=0.02)
        theirs.save_pretrained(small)
        ours = load_adapter(copy.deepcopy(full), small)
    inner = theirs.get_base_model()
    norm = inner.transformer.ln_f if style == "GPT-2" else inner.model.norm
    found = {
        "peft": Contestant(theirs, loss_of_theirs, norm),
        "course_lib": Contestant(ours, next_token_loss, ours.norm, ours=True),
        "full, course_lib": Contestant(full, next_token_loss, full.norm, ours=True, same="full"),
    }
    if style == "GPT-2":  # what peft cannot say: queries and values alone
        apart = add_lora(copy.deepcopy(full), RANK, ALPHA)
        found["course_lib, q and v"] = Contestant(apart, next_token_loss, apart.norm, ours=True, same="apart")
    return found


def loss_of_theirs(model: nn.Module, windows: Tensor) -> Tensor:
    """The next-token loss of a model of transformers or peft."""
    targets = windows[:, 1:].contiguous()
    return model(windows[:, :-1], labels=targets, shift_labels=targets).loss


def memory(one: Contestant, batch: Tensor) -> dict[str, int]:
    """The bytes that a step on one batch needs beside the weights, by what they are for."""
    mean_loss(one, batch).backward()
    trained = [p for p in one.model.parameters() if p.grad is not None]
    optimizer = torch.optim.AdamW(trained, lr=0.0)
    optimizer.step()
    numbers = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    found = {
        "kept for the way back": saved_for_backward(one.model, lambda: mean_loss(one, batch)),
        "gradients": sum(p.grad.nbytes for p in trained if p.grad is not None),
        "optimizer": sum(value.nbytes for value in numbers),
    }
    one.model.zero_grad(set_to_none=True)
    return found


def main() -> None:
    """Compare in each style and precision, and print a table for each."""
    args = options(__doc__).parse_args()
    here = begin("torch", "transformers", "peft")
    size, batch = (TINY, 2) if args.tiny else (FULL, 8)
    torch.manual_seed(0)
    batches = [torch.randint(size["vocab_size"], (batch, size["context"] + 1)) for _ in range(args.steps)]
    tokens = args.steps * batch * size["context"]
    runs: dict[str, Any] = {}
    for style in STYLES:
        make = functools.partial(contestants, size, style)
        torch.manual_seed(0)
        bytes_ = {name: memory(one, batches[0]) for name, one in make().items()}
        print(f"{style}, MB in float32")
        for name, found in bytes_.items():
            print(f"{name:28} " + "  ".join(f"{part} {number / 1e6:.2f}" for part, number in found.items()))
        for precision in args.precision:
            title = f"{style}, {precision}, eager, {batch} x {size['context']} tokens a step"
            print(title)
            timings = compare(make, batches, precision, False, args.rounds, not args.tiny)
            print(table("", timings, "peft", tokens, "tokens"), "\n", flush=True)
            runs[title] = {**record(timings, "peft", tokens, "tokens"), "bytes": bytes_}
    write(args, here, runs, size=size)


if __name__ == "__main__":
    main()

# .venv/bin/python benchmarks/kernels.py                     (--help for rounds; --json FILE keeps every single time)
"""Fast forms against the plain forms that they must equal.

Forward and back, in float32 and with numbers in bfloat16: experts of a mixture one after the other (moe.mix_experts)
and grouped (kernels.experts); torch's cross-entropy and the one that keeps its gradient (kernels.cross_entropy). And a
step of Muon on a CPU: torch's, which multiplies in bfloat16, and train.optim.CPUMuon. And a step of the small models of
`course train scaling`: the gradient by autograd with torch's fused Adam, and both by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from side_by_side import begin, parser, record, side_by_side, table, write
from torch import Tensor

from course_lib.nn.kernels.cross_entropy import cross_entropy_sum
from course_lib.nn.kernels.experts import grouped_experts
from course_lib.nn.moe import mix_experts
from course_lib.recipes import scaling_sweep
from course_lib.train.optim import CPUMuon

FULL = {"tokens": 2048, "d_model": 256, "d_ff": 512, "experts": 8, "vocab": 8192}
TINY = {"tokens": 16, "d_model": 16, "d_ff": 24, "experts": 4, "vocab": 32}
LAYERS = {"d": 128, "layers": 6}
TINY_LAYERS = {"d": 16, "layers": 2}
SWEEP = {"width": 32, "steps": 100}
TINY_SWEEP = {"width": 4, "steps": 1}
TOP_K = 2
Contest = tuple[dict[str, Callable[..., Tensor]], list[Tensor], list[Tensor]]  # forms, trained inputs, other inputs


def mixture(size: dict[str, int], dtype: torch.dtype) -> Contest:
    """The experts of one layer; weights of the choices are the last trained input."""
    n, d_model, d_ff, n_experts = size["tokens"], size["d_model"], size["d_ff"], size["experts"]
    shapes = [(n, d_model), (n_experts, d_ff, d_model), (n_experts, d_ff, d_model), (n_experts, d_model, d_ff)]
    inputs = [torch.randn(shape).div(shape[-1] ** 0.5).to(dtype) for shape in shapes]
    scores, experts = torch.rand(n, n_experts).softmax(dim=-1).topk(TOP_K)
    forms = {
        "plain": lambda x, gate, up, down, weights, chosen: mix_experts(x, gate, up, down, chosen, weights),
        "course_lib": lambda x, gate, up, down, weights, chosen: grouped_experts(x, gate, up, down, chosen, weights),
    }
    return forms, [*inputs, scores.to(dtype)], [experts]


def loss(size: dict[str, int], dtype: torch.dtype) -> Contest:
    """The loss of one step of a language model."""
    logits = torch.randn(size["tokens"], size["vocab"]).to(dtype)
    targets = torch.randint(size["vocab"], (size["tokens"],))
    return {"plain": torchs_cross_entropy, "course_lib": cross_entropy_sum}, [logits], [targets]


def torchs_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="sum")


def step(form: Callable[..., Tensor], trained: list[Tensor], others: list[Tensor]) -> list[Tensor]:
    """The output, and the gradient of its sum with respect to what is trained."""
    leaves = [tensor.detach().requires_grad_() for tensor in trained]
    output = form(*leaves, *others)
    output.sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def compare(contest: Contest, calls: int, rounds: int, tolerance: float) -> Any:
    forms, trained, others = contest
    plain, fast = (step(form, trained, others) for form in forms.values())
    for a, b in zip(plain, fast, strict=True):
        difference = (a.float() - b.float()).abs().max() / a.float().abs().max()
        assert difference < tolerance, f"the fast form differs by {difference:.1e} of the largest number"
    turns = {
        name: lambda form=form: [step(form, trained, others) for _ in range(calls)] for name, form in forms.items()
    }
    return side_by_side(turns, rounds)


def muon(size: dict[str, int], rounds: int) -> Any:
    """Compare steps on the matrices of a GPT-2's blocks; before that, the first update of each."""
    d = size["d"]
    shapes = [(3 * d, d), (d, d), (4 * d, d), (d, 4 * d)] * size["layers"]
    start, grads = ([torch.randn(shape) / d**0.5 for shape in shapes] for _ in range(2))
    steps, updates = {}, {}
    for name, kind in (("plain", torch.optim.Muon), ("course_lib", CPUMuon)):
        matrices = [matrix.clone().requires_grad_() for matrix in start]
        for matrix, grad in zip(matrices, grads, strict=True):
            matrix.grad = grad.clone()
        steps[name] = kind(matrices, 1e-3, 0.0, adjust_lr_fn="match_rms_adamw").step
        steps[name]()
        updates[name] = [matrix.detach() - first for matrix, first in zip(matrices, start, strict=True)]
    for a, b in zip(*updates.values(), strict=True):
        difference = (a - b).norm() / a.norm()
        assert difference < 0.05, f"the updates differ by {difference:.1e} of their norm"
    return side_by_side(steps, rounds)


def scaling(size: dict[str, int], rounds: int) -> Any:
    """Compare steps of the scaling sweep's model; before that, the weights after the first."""
    windows = torch.randint(scaling_sweep.VOCAB_SIZE, (scaling_sweep.BATCH, scaling_sweep.CONTEXT + 1))
    lr, betas = 1e-2, (0.9, 0.98)
    plain, fast = (scaling_sweep.NextCharacter(size["width"]) for _ in range(2))
    plain.parts = [part.clone().requires_grad_() for part in plain.parts]
    adam = torch.optim.Adam(plain.parts, lr, betas, fused=True)
    mean, square = torch.zeros_like(fast.weights), torch.zeros_like(fast.weights)

    def by_autograd(step: int) -> None:
        F.cross_entropy(plain(windows[:, :-1])[2], windows[:, -1]).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    def by_hand(step: int) -> None:
        fast.find_gradient(windows)
        scaling_sweep.adam_step(fast, mean, square, step, lr, betas)

    by_autograd(1)
    by_hand(1)
    difference = torch.cat([part.detach().flatten() for part in plain.parts]) - fast.weights
    assert difference.abs().max() < 1e-4, f"the weights differ by {difference.abs().max():.1e} after a step of {lr}"
    turns = {
        name: lambda take=take: [take(step) for step in range(2, 2 + size["steps"])]
        for name, take in (("plain", by_autograd), ("course_lib", by_hand))
    }
    return side_by_side(turns, rounds)


def main() -> None:
    """Parse the command line, compare, print."""
    args = parser(__doc__).parse_args()
    here = begin("torch")
    size, calls = (TINY, 1) if args.tiny else (FULL, 5)
    runs = {}
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.05)):
        about = "{tokens} tokens x {d_model}, {experts} experts of {d_ff}".format(**size) + f", top {TOP_K}"
        logits = "{tokens} tokens, vocabulary of {vocab}".format(**size)
        for name, make in ((f"experts, {about}", mixture), (f"cross-entropy, {logits}", loss)):
            torch.manual_seed(0)
            timings = compare(make(size, dtype), calls, args.rounds, tolerance)
            title = f"{name}, {str(dtype).removeprefix('torch.')}"
            print(table(title, timings, "plain", calls * size["tokens"], "tokens"), "\n", flush=True)
            runs[title] = record(timings, "plain", calls * size["tokens"], "tokens")
    size = TINY_LAYERS if args.tiny else LAYERS
    title = "a step of Muon, matrices of {layers} layers x {d}, float32".format(**size)
    timings = muon(size, args.rounds)
    print(table(title, timings, "plain", 1, "steps"), "\n", flush=True)
    runs[title] = record(timings, "plain", 1, "steps")
    size = TINY_SWEEP if args.tiny else SWEEP
    title = "{steps} steps of the scaling sweep at width {width}, float32".format(**size)
    timings = scaling(size, args.rounds)
    print(table(title, timings, "plain", size["steps"], "steps"), "\n", flush=True)
    runs[title] = record(timings, "plain", size["steps"], "steps")
    write(args, here, runs)


if __name__ == "__main__":
    main()

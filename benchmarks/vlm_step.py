# .venv/bin/python benchmarks/vlm_step.py                    (--help for sizes; --json FILE keeps every single time)
"""A training step of a vision-text model that writes captions: ours through course_lib.train, and transformers' LLaVA.

Both have the same weights, images and texts; all of the model is trained. The decoder reads the vision tower's last
layer, so that neither side computes a layer for nothing. In float32 and with products in bfloat16, not compiled.
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
from course_lib.train.losses import caption_loss

FULL = {"d_vision": 192, "d": 256, "layers": 4, "heads": 4, "vocab": 8192, "text": 64, "side": 32}
TINY = {"d_vision": 16, "d": 32, "layers": 2, "heads": 2, "vocab": 64, "text": 8, "side": 8}
PATCH = 4

Batch = tuple[Tensor, Tensor, Tensor]  # ids; targets, -100 for what is not to be predicted; images


def contestants(size: dict[str, int]) -> dict[str, Contestant]:
    """The same model in transformers and in ours."""
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            hidden_size=size["d_vision"],
            intermediate_size=4 * size["d_vision"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            image_size=size["side"],
            patch_size=PATCH,
        ),
        text_config=hf.LlamaConfig(
            vocab_size=size["vocab"],
            hidden_size=size["d"],
            intermediate_size=3 * size["d"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            use_cache=False,
        ),
        image_token_index=size["vocab"] - 1,
        image_seq_length=(size["side"] // PATCH) ** 2,
        vision_feature_layer=-1,
    )
    theirs = hf.LlavaForConditionalGeneration(config)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = from_pretrained(folder)
    return {
        "transformers": Contestant(theirs, loss_of_theirs, theirs.model.language_model.norm),
        "course_lib": Contestant(ours, caption_loss, ours.decoder.norm, ours=True),
    }


def loss_of_theirs(model: nn.Module, batch: Batch) -> Tensor:
    """The next-token loss of LLaVA in transformers."""
    ids, targets, images = batch
    return F.cross_entropy(model(ids, images).logits.flatten(0, 1), targets.flatten())


def draw(size: dict[str, int], batch: int) -> Batch:
    """Pictures of noise and random texts behind their image tokens."""
    image = size["vocab"] - 1
    text = torch.randint(image, (batch, size["text"]))
    ids = torch.cat((torch.full((batch, (size["side"] // PATCH) ** 2), image), text), dim=1)
    targets = F.pad(ids[:, 1:], (0, 1), value=-100)
    return ids, targets.masked_fill(targets == image, -100), torch.randn(batch, 3, size["side"], size["side"])


def main() -> None:
    """Compare in each precision, and print a table for each."""
    args = options(__doc__).parse_args()
    here = begin("torch", "transformers")
    size, batch = (TINY, 2) if args.tiny else (FULL, 16)
    torch.manual_seed(0)
    batches = [draw(size, batch) for _ in range(args.steps)]
    make, runs = functools.partial(contestants, size), {}
    for precision in args.precision:
        title = f"{precision}, eager, {batch} images a step, {batches[0][0].shape[1]} tokens each"
        print(title)
        timings = compare(make, batches, precision, False, args.rounds, not args.tiny)
        print(table("", timings, "transformers", args.steps * batch, "rows"), "\n", flush=True)
        runs[title] = record(timings, "transformers", args.steps * batch, "rows")
    write(args, here, runs, size=size)


if __name__ == "__main__":
    main()

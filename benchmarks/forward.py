# .venv/bin/python benchmarks/forward.py [FAMILY ...]        (--help for sizes; --json FILE keeps every single time)
"""A forward pass of each family, ours against transformers and timm with the same weights: float32, not compiled.

Equal work is checked before anything is timed: as many parameters, and the same outputs to 1e-4 of the largest. Each
family runs on many tokens, where time goes into matrix products, and on few, where it goes into the code around them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import timm
import torch
import transformers as hf
from side_by_side import begin, parser, record, side_by_side, table, write
from torch import Tensor, nn

from course_lib.interop import from_pretrained, from_timm, to_hf

TINY = {"d": 32, "layers": 2, "vocab": 64}
FULL = {"d": 256, "layers": 4, "vocab": 8192}
HEADS = 4
SIDE, PATCH, CLASSES = 32, 4, 10  # pixels, pixels, labels: 64 patches an image

Models = dict[str, tuple[nn.Module, Callable[..., Tensor]]]  # the peer first; a model, and how its output is had


def gpt2(d: int, layers: int, vocab: int) -> Models:
    """GPT-2 of width d, ours and theirs with the same weights."""
    config = hf.GPT2Config(vocab_size=vocab, n_positions=256, n_embd=d, n_layer=layers, n_head=HEADS, use_cache=False)
    return both(hf.GPT2LMHeadModel(config))


def llama(d: int, layers: int, vocab: int) -> Models:
    """Llama of width d, ours and theirs with the same weights."""
    return both(hf.LlamaForCausalLM(hf.LlamaConfig(intermediate_size=3 * d, **decoder(d, layers, vocab))))


def mixtral(d: int, layers: int, vocab: int) -> Models:
    """Mixtral, a mixture of experts of width d, ours and theirs with the same weights."""
    config = hf.MixtralConfig(
        intermediate_size=2 * d,
        num_local_experts=8,
        num_experts_per_tok=2,
        experts_implementation="grouped_mm",
        **decoder(d, layers, vocab),
    )
    return both(hf.MixtralForCausalLM(config))


def bert(d: int, layers: int, vocab: int) -> Models:
    """BERT of width d, ours and theirs with the same weights."""
    config = hf.BertConfig(
        vocab_size=vocab,
        hidden_size=d,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=4 * d,
    )
    return both(hf.BertForMaskedLM(config))


def t5(d: int, layers: int, vocab: int) -> Models:
    """T5 of width d, ours and theirs with the same weights."""
    config = hf.T5Config(
        vocab_size=vocab, d_model=d, d_kv=d // HEADS, d_ff=4 * d, num_layers=layers, num_heads=HEADS, use_cache=False
    )
    theirs = hf.T5ForConditionalGeneration(config).eval()
    ours = translated(theirs)
    return {
        "transformers": (theirs, lambda ids: theirs(input_ids=ids, decoder_input_ids=ids).logits),
        "course_lib": (ours, lambda ids: ours(ids, ids)),
    }


def vit(d: int, layers: int, vocab: int) -> Models:
    """A vision transformer of width d, ours and timm's with the same weights."""
    other = timm.models.VisionTransformer(SIDE, PATCH, 3, CLASSES, embed_dim=d, depth=layers, num_heads=HEADS).eval()
    with tempfile.TemporaryDirectory() as folder:
        to_hf(from_timm(other), folder)
        theirs = hf.ViTForImageClassification.from_pretrained(folder)
    return {"timm": (other, other), **both(theirs)}


def clip(d: int, layers: int, vocab: int) -> Models:
    """CLIP of width d, ours and theirs with the same weights."""
    text = {
        "vocab_size": vocab,
        "max_position_embeddings": 256,
        "hidden_size": d,
        "intermediate_size": 4 * d,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "eos_token_id": 2,  # the end is the token of the highest id
    }
    config = hf.CLIPConfig(text_config=text, vision_config=tower(d, layers), projection_dim=d)
    theirs = hf.CLIPModel(config).eval()
    ours = translated(theirs)
    return {
        "transformers": (theirs, lambda images, ids: theirs(ids, images).logits_per_image),
        "course_lib": (ours, ours),
    }


def llava(d: int, layers: int, vocab: int) -> Models:
    """LLaVA of width d, ours and theirs with the same weights."""
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**tower(d, layers)),
        text_config=hf.LlamaConfig(intermediate_size=3 * d, **decoder(d, layers, vocab)),
        image_token_index=vocab - 1,
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,  # with the usual -2 transformers computes a layer for nothing, and we do not
    )
    theirs = hf.LlavaForConditionalGeneration(config).eval()
    ours = translated(theirs)
    return {
        "transformers": (theirs, lambda images, ids: theirs(ids, images).logits),
        "course_lib": (ours, lambda images, ids: ours(ids, images)),
    }


FAMILIES = {
    "GPT-2": gpt2,
    "Llama": llama,
    "Mixtral": mixtral,
    "BERT": bert,
    "T5": t5,
    "ViT": vit,
    "CLIP": clip,
    "LLaVA": llava,
}


def decoder(d: int, layers: int, vocab: int) -> dict[str, Any]:
    """The settings of a Llama that is alone or a part of another model, as transformers calls them."""
    return {
        "vocab_size": vocab,
        "hidden_size": d,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "max_position_embeddings": 512,
        "use_cache": False,
    }


def tower(d: int, layers: int) -> dict[str, Any]:
    """The settings of CLIP's vision tower, as transformers calls them."""
    return {
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_size": d,
        "intermediate_size": 4 * d,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
    }


def both(theirs: nn.Module) -> Models:
    """Their model and ours with its weights, both in evaluation mode, each with what calls it."""
    ours = translated(theirs.eval())
    return {"transformers": (theirs, lambda x: theirs(x).logits), "course_lib": (ours, ours)}


def translated(theirs: Any) -> Any:
    """Our model with their weights, through a folder as transformers writes it."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return from_pretrained(folder)


def inputs(family: str, vocab: int, batch: int, tokens: int) -> list[Tensor]:
    """Random arguments for the models of a family."""
    images, ids = torch.randn(batch, 3, SIDE, SIDE), torch.randint(vocab - 1, (batch, tokens))
    match family:
        case "ViT":
            return [images]
        case "CLIP":
            return [images, ids]
        case "LLaVA":
            seen = torch.full((batch, (SIDE // PATCH) ** 2), vocab - 1)  # one image token a patch, before the text
            return [images, torch.cat((seen, ids), dim=1)]
    return [ids]


@torch.no_grad()
def compare(models: Models, given: list[Tensor], calls: int, rounds: int) -> Any:
    """Time the models, after checking that parameters and outputs are the same.

    Args:
        models: The peer first.
        given: The arguments of a forward pass.
        calls: Forward passes in a turn.
        rounds: Turns of each model.
    """
    outputs = {name: call(*given) for name, (_, call) in models.items()}
    peer, *others = outputs.values()
    for name, output in zip(list(outputs)[1:], others, strict=True):
        difference = (output - peer).abs().max() / peer.abs().max()
        assert difference < 1e-4, f"{name} differs by {difference:.1e} of the largest output"
    parameters = {name: sum(p.numel() for p in model.parameters()) for name, (model, _) in models.items()}
    assert len(set(parameters.values())) == 1, parameters
    turns = {name: lambda call=call: [call(*given) for _ in range(calls)] for name, (_, call) in models.items()}
    return side_by_side(turns, rounds)


def main() -> None:
    """Compare the families that the command line names, and print a table for each."""
    options = parser(__doc__)
    options.add_argument("families", nargs="*", default=[], metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; or all")
    args = options.parse_args()
    here = begin("torch", "transformers", "timm")
    size, loads = (TINY, {(2, 8): 1}) if args.tiny else (FULL, {(8, 256): 1, (1, 16): 30})
    runs = {}
    for family in args.families or FAMILIES:
        torch.manual_seed(0)
        models = FAMILIES[family](**size)
        for (batch, tokens), calls in loads.items():
            timings = compare(models, inputs(family, size["vocab"], batch, tokens), calls, args.rounds)
            title = f"{family}, batch {batch}" + f" x {tokens} tokens" * (family != "ViT")
            print(table(title, timings, next(iter(models)), batch * calls, "rows"), "\n", flush=True)
            runs[title] = record(timings, next(iter(models)), batch * calls, "rows")
    write(args, here, runs, size=size)


if __name__ == "__main__":
    main()

"""A GPT with its weights in 8 or 4 bits: less memory, and less time to read it for every token."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.infer.quantization.linear import Int4Linear, Int8Embedding, Int8Linear
from course_lib.infer.quantization.rounding import QuantizedWeight, pack, quantize_groupwise, quantize_symmetric, unpack
from course_lib.interop.model_files import read_settings, read_tensors, write_model_files
from course_lib.models.gpt import GPT, GPTConfig

MODEL_TYPE = "course_gpt_in_few_bits"


def quantize(model: GPT, bits: int = 8, group: int | None = None) -> GPT:
    """Replace, in place, the linear layers of a GPT by ones with weights of `bits` bits.

    Embedding and output layer have 8 bits in both cases, and stay one table where they are tied. Norms, learned
    positions and activations are float32, whatever they were; activations are rounded to bfloat16 on their way into a
    product. For running, not for training, and in this dtype: no `model.half()` afterwards. A merged LoRA stays merged
    for good. Each weight changes by at most half its scale; see course_lib.infer.quantization.rounding, also for the
    sources.

    Args:
        model: a GPT without experts.
        bits: 8, with one scale a row, or 4, with a scale and an offset for each group of inputs.
        group: how many inputs share a scale with 4 bits; None for 32.

    Returns:
        The same model.

    Raises:
        ModelError: for another kind of model, one with experts, one that is quantized already or tuned by added layers,
            a group that does not divide the inputs of a layer, and weights that are not finite. The model is then as it
            was.
    """
    if type(model) is not GPT or model.config.n_experts:
        kind = "a GPT with experts" if type(model) is GPT else f"a {type(model).__name__}"
        raise ModelError(f"{kind} cannot be quantized; pass a GPT without experts")
    if bits not in (4, 8):
        raise ModelError(f"bits={bits} is not supported; use 8 or 4")
    if bits == 8 and group is not None:
        raise ModelError("8 bits have one scale a row; leave group out, or use bits=4")
    if getattr(model, "tuning", None) or isinstance(model.tokens, Int8Embedding):
        raise ModelError("the model is quantized already, or tuned by added layers; merge those first")
    layers: dict[str, nn.Module] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            bias = None if layer.bias is None else layer.bias.detach()
            try:
                if bits == 8 or name == "head":
                    layers[name] = Int8Linear(quantize_symmetric(layer.weight), bias)
                else:
                    layers[name] = Int4Linear(quantize_groupwise(layer.weight, bits, group or 32), bias)
            except ValueError as error:
                raise ModelError(f"{name}: {error}") from None
    tied = model.config.tie_embeddings
    _replace(model, layers, layers["head"] if tied else Int8Linear(quantize_symmetric(model.tokens.weight)))
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    vars(model).pop("kept_loras", None)  # what `merge_lora` kept: it would take the memory of the floats
    return model


def weight_bytes(model: nn.Module) -> int:
    """The memory that the parameters and buffers of a model take, each counted once."""
    stores = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in (*model.parameters(), *model.buffers())}
    return sum(store.nbytes() for store in stores.values())


def save_quantized(model: GPT, folder: str | Path) -> None:
    """Write a quantized GPT: config.json and model.safetensors, with the bits in an order that every machine reads.

    Each file appears whole or not at all, the config last. Raises ModelError for a model that is not quantized, and
    where there is no room.
    """
    layers = {name: part for name, part in model.named_modules() if isinstance(part, Int8Linear | Int4Linear)}
    if not layers:
        raise ModelError("the model is not quantized; course_lib.interop.save_pretrained keeps it")
    tensors = {f"{name}.{part}": t for name, layer in layers.items() for part, t in _to_tensors(layer).items()}
    inside = (*(f"{name}." for name in layers), "head.", "tokens.")
    tensors |= {name: t for name, t in model.state_dict().items() if not name.startswith(inside)}
    write_model_files(Path(folder), {"model_type": MODEL_TYPE, **asdict(model.config)}, tensors)


def load_quantized(folder: str | Path, device: torch.device | str = "cpu") -> GPT:
    """The quantized GPT that `save_quantized` wrote, in eval mode, made on the device where it is to run.

    Raises ModelError for a folder of another kind, or one that is incomplete or damaged.
    """
    folder = Path(folder)
    settings = read_settings(folder / "config.json")
    if settings.pop("model_type", None) != MODEL_TYPE:
        raise ModelError(f"{folder} holds no quantized GPT; course_lib.interop.from_pretrained opens other models")
    tensors = {name: tensor.to(device) for name, tensor in read_tensors(folder / "model.safetensors").items()}
    try:
        with torch.device("meta"):  # all that is there now will be replaced
            model = GPT(GPTConfig(**settings))
        shapes = {name: layer.weight.shape for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
        shapes["tokens.table"] = model.tokens.weight.shape
        if model.config.tie_embeddings:
            del shapes["head"]
        layers: dict[str, nn.Module] = {name: _taken(tensors, name, shape) for name, shape in shapes.items()}
        table = layers.pop("tokens.table")
        _replace(model, {"head": table, **layers}, table)
        left = model.load_state_dict(tensors, assign=True, strict=False).unexpected_keys
        if left or any(t.is_meta for t in (*model.parameters(), *model.buffers())):
            raise ValueError(f"{', '.join(left)} left over" if left else "a norm or a position is missing")
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        what = " ".join(str(error).split())
        raise ModelError(f"{folder}: config.json and model.safetensors do not fit ({what}); copy both again") from None
    return model.eval()


def _to_tensors(layer: Int8Linear | Int4Linear) -> dict[str, Tensor]:
    """The tensors from which every machine can make the layer again."""
    codes, scale, offset = layer.quantized_weight()
    tensors = {"codes": codes} if offset is None else {"packed": pack(codes), "offset": offset}
    return tensors | {"scale": scale} | ({} if layer.bias is None else {"bias": layer.bias})


def _from_tensors(parts: dict[str, Tensor]) -> Int8Linear | Int4Linear:
    """The layer that `_to_tensors` gave these tensors for."""
    if "packed" in parts:
        return Int4Linear(QuantizedWeight(unpack(parts["packed"]), parts["scale"], parts["offset"]), parts.get("bias"))
    # Copied, since what comes from a file may begin at any address, and the kernel needs a multiple of 16.
    return Int8Linear(QuantizedWeight(parts["codes"].clone(), parts["scale"]), parts.get("bias"))


def _taken(tensors: dict[str, Tensor], name: str, shape: torch.Size) -> Int8Linear | Int4Linear:
    """A layer, with its tensors taken out."""
    names = [full for full in tensors if full.rpartition(".")[0] == name]
    layer = _from_tensors({full.rpartition(".")[2]: tensors.pop(full) for full in names})
    if layer.shape != shape:
        raise ValueError(f"{name} has the shape {tuple(layer.shape)}, not {tuple(shape)}")
    return layer


def _replace(model: GPT, layers: dict[str, nn.Module], table: nn.Module) -> None:
    assert isinstance(table, Int8Linear)
    for name, layer in {**layers, "tokens": Int8Embedding(table)}.items():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer)

"""A GPT with its weights in 8 or 4 bits: less memory, and less time to read it for every token."""

from torch import nn

from course_lib.errors import ModelError
from course_lib.infer.quantization.linear import Int4Linear, Int8Embedding, Int8Linear
from course_lib.infer.quantization.rounding import quantize_groupwise, quantize_symmetric
from course_lib.models.gpt import GPT


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
    table = layers["head"] if model.config.tie_embeddings else Int8Linear(quantize_symmetric(model.tokens.weight))
    assert isinstance(table, Int8Linear)
    for name, layer in {**layers, "tokens": Int8Embedding(table)}.items():
        model.set_submodule(name, layer)
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    vars(model).pop("kept_loras", None)  # what `merge_lora` kept: it would take the memory of the floats
    return model


def weight_bytes(model: nn.Module) -> int:
    """The memory that the parameters and buffers of a model take, each counted once."""
    stores = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in (*model.parameters(), *model.buffers())}
    return sum(store.nbytes() for store in stores.values())

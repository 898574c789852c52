"""A GPT with its weights in 8 or 4 bits: less memory, and less time to read it for each token."""

from torch import nn

from course_lib.errors import ModelError
from course_lib.infer.quantization.linear import Int4Linear, Int8Embedding, Int8Linear
from course_lib.infer.quantization.rounding import quantize_groupwise, quantize_symmetric
from course_lib.models.gpt import GPT


def quantize(model: GPT, bits: int = 8, group: int | None = None) -> GPT:
    """Quantize the linear layers of a GPT in place.

    The embedding and the output layer have 8 bits in both cases, and stay one table if they are tied. Norms, learned
    positions and activations become float32, whatever they were; activations are rounded to bfloat16 as inputs of a
    product. The model is for inference only, not for training, and keeps these dtypes: do not call `model.half()`
    afterwards. A merged LoRA can no longer be unmerged. Each weight changes by at most half its scale; see
    `course_lib.infer.quantization.rounding`, also for the sources.

    Args:
        model: A GPT without experts.
        bits: 8, with one scale per row, or 4, with a scale and an offset for each group of inputs.
        group: The number of inputs that share a scale with 4 bits; None for 32.

    Returns:
        The same model.

    Raises:
        ModelError: If this is another kind of model, has experts, is quantized already or has adapter layers, if the
            group does not divide the inputs of a layer, or if weights are not finite. The model is then unchanged.
    """
    if type(model) is not GPT or model.config.n_experts:
        kind = "a GPT with experts" if type(model) is GPT else f"a {type(model).__name__}"
        raise ModelError(f"{kind} cannot be quantized; pass a GPT without experts")
    if bits not in (4, 8):
        raise ModelError(f"bits={bits} is not supported; use 8 or 4")
    if bits == 8 and group is not None:
        raise ModelError("8 bits have one scale a row; leave group out, or use bits=4")
    if getattr(model, "tuning", None) or isinstance(model.token_embedding, Int8Embedding):
        raise ModelError("the model is quantized already, or tuned by added layers; merge those first")
    group = 32 if group is None else group
    layers: dict[str, nn.Module] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            bias = None if layer.bias is None else layer.bias.detach()
            try:
                if bits == 8 or name == "lm_head":
                    layers[name] = Int8Linear(quantize_symmetric(layer.weight), bias)
                else:
                    layers[name] = Int4Linear(quantize_groupwise(layer.weight, bits, group), bias)
            except ValueError as error:
                raise ModelError(f"{name}: {error}") from None
    if model.config.tie_embeddings:
        table = layers["lm_head"]
    else:
        table = Int8Linear(quantize_symmetric(model.token_embedding.weight))
    assert isinstance(table, Int8Linear)
    for name, layer in {**layers, "token_embedding": Int8Embedding(table)}.items():
        model.set_submodule(name, layer)
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    vars(model).pop("kept_loras", None)  # `merge_lora` keeps them: they would take the memory of the float weights
    return model


def weight_bytes(model: nn.Module) -> int:
    """Compute the number of bytes of a model's parameters and buffers, each counted once."""
    stores = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in (*model.parameters(), *model.buffers())}
    return sum(store.nbytes() for store in stores.values())

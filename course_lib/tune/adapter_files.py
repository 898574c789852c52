"""The small part of a tuned model in a folder of its own: adapter_config.json and adapter_model.safetensors."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open
from torch import nn

from course_lib.errors import ModelError
from course_lib.interop.model_files import read_settings, read_tensors, write_model_files
from course_lib.tune.adapters import add_adapters
from course_lib.tune.bitfit import train_biases
from course_lib.tune.frozen import check_tensors, refuse_tuned, trainable_parameters, tuned_parts
from course_lib.tune.peft import from_peft, lora_pairs, to_peft
from course_lib.tune.prefix import add_prefix

METHODS: dict[str, Callable[..., nn.Module]] = {"adapters": add_adapters, "bitfit": train_biases, "prefix": add_prefix}
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PAIRS = "course_lib.pairs"  # in the header of the tensors, where peft does not look


def save_adapter(model: nn.Module, folder: str | Path) -> None:
    """Write how the model was tuned, and the parameters that were trained; for LoRA in the files that peft opens.

    Each file appears whole or not at all, the config last. If queries, keys and values are one matrix in transformers,
    as in GPT-2, their LoRA pairs are one pair of a higher rank in peft's files; `load_adapter` separates them again.

    Raises:
        ModelError: for a model that is not tuned, or merged, and for a full disk.
    """
    tuning = tuned_parts(model).get("")
    if tuning is None:
        raise ModelError("the model is not tuned, or merged; course_lib.interop.save_pretrained keeps the whole of it")
    if tuning["method"] == "lora":
        config, tensors = to_peft(model)
        header = {PAIRS: json.dumps(lora_pairs(model))}
    elif tuning["method"] in METHODS:
        config, tensors, header = tuning, dict(trainable_parameters(model)), {}
    else:
        raise ModelError(
            f"what {tuning['method']} has trained cannot be saved: it is only a control; use another method"
        )
    write_model_files(Path(folder), config, tensors, (CONFIG, TENSORS), header)


def load_adapter(model: nn.Module, folder: str | Path) -> nn.Module:
    """Tune the model, in place, as the one that `save_adapter` wrote, or peft for LoRA; return it.

    If that fails, the model is left as it was.

    Args:
        model: with the weights that the other had before it was tuned.
        folder: with adapter_config.json and adapter_model.safetensors.

    Raises:
        ModelError: for a folder that is incomplete or damaged, a method or setting that is not supported, by its name,
            and tensors that do not fit, all of them listed.
        ValueError: for a model that is tuned already.
    """
    refuse_tuned(model)
    folder = Path(folder)
    config = read_settings(folder / CONFIG)
    tensors = read_tensors(folder / TENSORS)
    try:
        with _restored_on_error(model):
            if config.get("peft_type") is not None:
                with safe_open(folder / TENSORS, "pt") as file:
                    pairs = json.loads((file.metadata() or {}).get(PAIRS, "null"))
                return from_peft(model, config, tensors, pairs)
            method = METHODS.get(str(config.pop("method", "")))
            if method is None:
                raise ModelError(f"{folder / CONFIG} names no method of ours; we know lora, {', '.join(METHODS)}")
            method(model, **config)
            parameters = trainable_parameters(model)
            check_tensors(tensors, parameters)
            for name, parameter in parameters.items():
                parameter.data.copy_(tensors[name])
            return model
    except ModelError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, re.error) as error:
        raise ModelError(f"a setting of {folder / CONFIG} is missing or cannot be used ({error!r})") from None


@contextmanager
def _restored_on_error(model: nn.Module) -> Iterator[None]:
    """If tuning a model fails inside this context, restore its parts, and which of its weights are trained."""
    attributes = [(vars(module), vars(module) | {"_modules": dict(module._modules)}) for module in model.modules()]
    trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    except BaseException:
        for now, before in attributes:
            now.clear()
            now.update(before)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)
        raise

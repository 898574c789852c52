"""Saving and loading only the tuned part of a model: adapter_config.json and adapter_model.safetensors in a folder."""

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
from course_lib.tune.peft_format import from_peft, lora_pairs, to_peft
from course_lib.tune.prefix import add_prefix

METHODS: dict[str, Callable[..., nn.Module]] = {"adapters": add_adapters, "bitfit": train_biases, "prefix": add_prefix}
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PAIRS = "course_lib.pairs"  # a key in the header of the tensors, which peft does not read


def save_adapter(model: nn.Module, folder: str | Path) -> None:
    """Save the tuning method, its settings and the trained parameters to a folder; for LoRA in peft's file format.

    Each file appears whole or not at all, the config last. If queries, keys and values are one matrix in transformers,
    as in GPT-2, their LoRA pairs become one pair of a higher rank in peft's files; `load_adapter` separates them again.

    Raises:
        ModelError: If the model is not tuned, is merged, or was tuned by a method that cannot be saved, or if the disk
            is full.
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
    """Load what `save_adapter` saved, or a LoRA that peft saved, into the model in place, and return the model.

    If that fails, the model is left as it was.

    Args:
        model: A model with the weights that the saved one had before it was tuned.
        folder: The folder with adapter_config.json and adapter_model.safetensors.

    Raises:
        ModelError: If the folder is incomplete or damaged, a method or setting is not supported (the message names it),
            or tensors do not fit (the message lists them all).
        ValueError: If the model is tuned already.
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
    """Restore a model's parts, and which of its weights are trained, if tuning it fails inside this context."""
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

"""LoRA as the library peft writes it: its settings, and its names, which are those of transformers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.interop.hf.family import Family
from course_lib.interop.model_folder import hf_form
from course_lib.tune.frozen import copy_tensors, freeze, tuning_of
from course_lib.tune.lora import LoRA, linear_sites, tied_layers

IN_FRONT = "base_model.model."  # of every name
# Settings that leave the results alone or are read; of some, what is supported. Others have to be off: None, False, ...
HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "target_modules", "task_type",
}  # fmt: skip
READ = {"peft_type": ("LORA",), "init_lora_weights": (True, False, None, "gaussian")}
RANK, ALPHA = ("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")


def to_peft(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """adapter_config.json and the tensors of a model with LoRA; where transformers has no such model, in our names.

    What peft has as one matrix, as the stacked one of GPT-2, can have several pairs with us: there they become one, of
    the sum of the ranks, with zeros where a pair adds nothing. And what it has as three can have one with us, "qkv":
    there each of the three gets its A.
    """
    tensors: dict[str, Tensor] = {}
    ranks, alphas = {}, {}
    for layer, name, rows, parts in _matrices(model):
        a, b = layer.stacked(parts)
        tensors[f"{IN_FRONT}{name}.lora_A.weight"] = a
        tensors[f"{IN_FRONT}{name}.lora_B.weight"] = b[rows]
        ranks[name], alphas[name] = len(parts) * layer.rank, len(parts) * layer.alpha
    family = _family(model)
    rank, alpha = min(ranks.values()), min(alphas.values())
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: value for name, value in ranks.items() if value != rank},
        "alpha_pattern": {name: value for name, value in alphas.items() if value != alpha},
        "target_modules": sorted(ranks),
        "fan_in_fan_out": bool(family and family.transposed),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    return config, tensors


def from_peft(
    model: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor], pairs: Mapping[str, Any] | None = None
) -> nn.Module:
    """Give a model the LoRA of these files, in place, and return it.

    pairs: what `lora_pairs` said when they were written; None for the files of others.
    Raises ModelError for a setting that is not supported, by its name, and for tensors that do not fit, all of them.
    """
    for name, value in config.items():
        if name not in HARMLESS and value not in READ.get(name, (None, False, "none", [], {})):
            raise ModelError(f"{name}={value!r} is not supported")
    if pairs is not None:
        return _from_pairs(model, config, tensors, pairs)
    family = _family(model)
    parts = {(module, rows.start, rows.stop): part for module, part, rows in linear_sites(model).values()}
    layers: dict[str, LoRA] = {}
    parameters: dict[str, nn.Parameter] = {}
    for module, base in model.named_modules():
        theirs = _theirs(model, family, module, base.out_features) if isinstance(base, nn.Linear) else {}
        theirs = {name: rows for name, rows in theirs.items() if f"{IN_FRONT}{name}.lora_A.weight" in tensors}
        kinds = {tuple(_of(name, config, *keys) for keys in (RANK, ALPHA)) for name in theirs}
        if len(kinds) > 1:
            raise ModelError(f"the parts of {module} differ in rank or alpha, which is not supported")
        for rank, alpha in kinds:
            mine = {name: parts[module, rows.start, rows.stop] for name, rows in theirs.items()}
            layer = layers[module] = LoRA(base, rank, alpha, {mine[name]: rows for name, rows in theirs.items()})
            for name, part in mine.items():
                parameters[f"{IN_FRONT}{name}.lora_A.weight"] = layer.a[part]
                parameters[f"{IN_FRONT}{name}.lora_B.weight"] = layer.b[part]
    copy_tensors(parameters, tensors)
    if shared := layers.keys() & tied_layers(model):
        raise ModelError(f"{shared.pop()} is the embedding of the tokens too, and cannot change alone")
    freeze(model, "lora", rank=config["r"], alpha=config["lora_alpha"], targets=sorted(layers))
    for module, layer in layers.items():
        model.set_submodule(module, layer)
    return model


def lora_pairs(model: nn.Module) -> dict[str, Any]:
    """What the files of peft do not say: the targets, and by what pairs each of our layers is changed."""
    layers = {name: list(layer.rows) for name, layer in model.named_modules() if isinstance(layer, LoRA)}
    return {"targets": (tuning_of(model) or {})["targets"], "layers": layers}


def _from_pairs(model: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor], pairs: Any) -> nn.Module:
    """As from_peft, with the pairs as they were before what peft has as one matrix made one of them."""
    of_part = {(module, part): rows for module, part, rows in linear_sites(model).values()}
    family = _family(model)
    layers: dict[str, LoRA] = {}
    for module, parts in pairs["layers"].items():
        base: Any = model.get_submodule(module)
        rows = {part: of_part[module, part] for part in parts}
        kinds = {
            (_of(name, config, *RANK) / len(inside), _of(name, config, *ALPHA) / len(inside))
            for name, theirs in _theirs(model, family, module, base.out_features).items()
            if (inside := _overlapping(rows, theirs))
        }
        ((rank, alpha),) = kinds
        layers[module] = LoRA(base, int(rank), alpha, rows)
    kinds = {(layer.rank, layer.alpha) for layer in layers.values()}
    rank, alpha = kinds.pop() if len(kinds) == 1 else (config["r"], config["lora_alpha"])
    freeze(model, "lora", rank=rank, alpha=alpha, targets=pairs["targets"])
    for module, layer in layers.items():
        model.set_submodule(module, layer)
    matrices = list(_matrices(model))
    whole: dict[str, nn.Parameter] = {}
    for layer, name, theirs, parts in matrices:
        a, b = layer.stacked(parts)
        whole[f"{IN_FRONT}{name}.lora_A.weight"] = nn.Parameter(a.detach())
        whole[f"{IN_FRONT}{name}.lora_B.weight"] = nn.Parameter(b[theirs].detach())
    copy_tensors(whole, tensors)
    for layer, name, theirs, parts in matrices:
        a, b = (whole[f"{IN_FRONT}{name}.lora_{which}.weight"].data for which in "AB")
        for part, a_part, b_part in zip(parts, a.split(layer.rank), b.split(layer.rank, dim=1), strict=True):
            ours = layer.rows[part]
            start, stop = max(ours.start, theirs.start), min(ours.stop, theirs.stop)
            layer.a[part].data.copy_(a_part)
            layer.b[part].data[start - ours.start : stop - ours.start] = b_part[
                start - theirs.start : stop - theirs.start
            ]
    return model


def _matrices(model: nn.Module) -> Iterator[tuple[LoRA, str, slice, list[str]]]:
    """Each matrix of peft that LoRA changes: our layer, their name, its rows in ours, and the pairs that are in it."""
    family = _family(model)
    for module, layer in model.named_modules():
        if isinstance(layer, LoRA):
            for name, rows in _theirs(model, family, module, layer.out_features).items():
                if parts := _overlapping(layer.rows, rows):
                    yield layer, name, rows, parts


def _overlapping(rows: Mapping[str, slice], theirs: slice) -> list[str]:
    return [part for part, of in rows.items() if of.start < theirs.stop and theirs.start < of.stop]


def _family(model: Any) -> Family | None:
    """The family of transformers that can hold the model."""
    try:
        return hf_form(model)[0]
    except ModelError:
        return None


def _theirs(model: nn.Module, family: Family | None, module: str, n: int) -> dict[str, slice]:
    """What the matrix of a linear layer with n outputs is called in transformers, or with us, and each part's rows."""
    if family is None:
        inside = {
            name: rows for name, (of, part, rows) in linear_sites(model).items() if of == module and len(part) == 1
        }
        return inside or {module: slice(0, n)}
    named = family.tensor_views(model, f"{module}.weight", torch.arange(n)[:, None])
    return {name.removesuffix(".weight"): slice(int(rows.min()), int(rows.max()) + 1) for name, rows in named}


def _of(name: str, config: Mapping[str, Any], pattern: str, default: str) -> Any:
    """What a setting is for the layer `name`: the first pattern that its end matches decides, as in peft."""
    found = (value for key, value in config.get(pattern, {}).items() if re.match(rf"(.*\.)?({key})$", name))
    return next(found, config[default])

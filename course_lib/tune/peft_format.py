"""LoRA in the file format of the library peft: its settings, and its names, which are those of transformers.

In peft every matrix of transformers has one pair A and B; ours has one for each of queries, keys and values, which are
rows of one layer. An example: pairs of rank 8 for queries and values ("q", "v"), d_model 768.

* In GPT-2, transformers has one matrix too, transformer.h.0.attn.c_attn. So our two pairs become one of rank 16:
  A_q over A_v, of 16 x 768, and B of 2304 x 16, with B_q in the rows and columns of the queries, B_v in those of the
  values, and zeros elsewhere. `r` is 16 and `lora_alpha` is twice ours, so that their ratio stays.
* In Llama, transformers has three matrices. Our pairs are those of q_proj and v_proj, with `r` 8. A single pair for all
  three of ours ("qkv") becomes three pairs with the same A, and with its rows of B.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.interop.hf.family import Family
from course_lib.interop.model_folder import hf_form
from course_lib.tune.frozen import begin_tuning, check_tensors, check_tunable, linear_layers, refuse_tied, tuned_parts
from course_lib.tune.lora import LoRA, lora_sites

PREFIX = "base_model.model."  # every name starts with it
# HARMLESS: settings that are read, or do not change the results. READ: supported values of others. All the rest must
# be off: None, False, ...
HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "target_modules", "task_type",
}  # fmt: skip
READ = {"peft_type": ("LORA",), "init_lora_weights": (True, False, None, "gaussian")}


class PeftMatrix(NamedTuple):
    """A matrix of peft that one of our LoRA layers changes.

    Attributes:
        lora: Our layer, which holds the matrix as a whole or in part.
        name: The name of the matrix.
        rows: The rows of our layer that are this matrix.
        parts: The pairs of our layer that change it.
    """

    lora: LoRA
    name: str
    rows: slice
    parts: list[str]


def to_peft(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert a model's LoRA to the content of adapter_config.json and the tensors of peft.

    If transformers has no such model, names are ours. One matrix of peft, such as the stacked one of GPT-2, can have
    several pairs in our layer. They become one pair, whose rank is the sum of the ranks, with zeros where a pair adds
    nothing. Three matrices of peft can have one pair in our layer, "qkv". Then each of the three gets its A.
    """
    matrices = list(_matrices(model))
    ranks = {matrix.name: len(matrix.parts) * matrix.lora.rank for matrix in matrices}
    alphas = {matrix.name: len(matrix.parts) * matrix.lora.alpha for matrix in matrices}
    rank, alpha = min(ranks.values()), min(alphas.values())
    family = _family(model)
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
    return config, _tensors(matrices)


def lora_pairs(model: nn.Module) -> dict[str, Any]:
    """Return what the files of peft do not say: the target modules, and which pairs each of our layers has."""
    layers = {name: list(layer.rows) for name, layer in model.named_modules() if isinstance(layer, LoRA)}
    return {"target_modules": tuned_parts(model)[""]["target_modules"], "layers": layers}


def from_peft(
    model: nn.Module, config: Mapping[str, Any], tensors: Mapping[str, Tensor], pairs: Mapping[str, Any] | None = None
) -> nn.Module:
    """Add the LoRA of peft's files to a model, in place, and return the model.

    Args:
        model: A model that is not tuned yet.
        config: The content of adapter_config.json.
        tensors: The tensors by their names in the file.
        pairs: The result of `lora_pairs` when the files were written; None for files that peft wrote.

    Raises:
        ModelError: If a setting is not supported (the message names it), or tensors do not fit (the message lists
            them all).
    """
    for name, value in config.items():
        if name not in HARMLESS and value not in READ.get(name, (None, False, "none", [], {})):
            raise ModelError(f"{name}={value!r} is not supported")
    check_tunable(model)
    layers = linear_layers(model)
    names = {name: _peft_names(model, name, layer.out_features) for name, layer in layers.items()}
    if pairs is None:
        pairs = _pairs_of_others(model, names, tensors)
    rows_of = {(layer, part): rows for layer, part, rows in lora_sites(model).values()}
    loras: dict[str, LoRA] = {}
    for name, parts in pairs["layers"].items():
        rows = {part: rows_of[name, part] for part in parts}
        rank, alpha = _rank_and_alpha(name, config, rows, names[name])
        loras[name] = LoRA(layers[name], rank, alpha, rows)
    refuse_tied(model, loras)
    settings = {(lora.rank, lora.alpha) for lora in loras.values()}
    rank, alpha = settings.pop() if len(settings) == 1 else (config["r"], config["lora_alpha"])
    begin_tuning(model, "lora", rank=rank, alpha=alpha, target_modules=pairs["target_modules"])
    for name, lora in loras.items():
        model.set_submodule(name, lora)
    _copy_tensors(list(_matrices(model)), tensors)
    return model


def _pairs_of_others(
    model: nn.Module, names: Mapping[str, Mapping[str, slice]], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the same as `lora_pairs` for files without it: one pair for each matrix."""
    part_of = {(layer, rows.start, rows.stop): part for layer, part, rows in lora_sites(model).values()}
    layers: dict[str, list[str]] = {}
    for layer, matrices in names.items():
        for name, rows in matrices.items():
            if f"{PREFIX}{name}.lora_A.weight" in tensors:
                layers.setdefault(layer, []).append(part_of[layer, rows.start, rows.stop])
    return {"target_modules": sorted(layers), "layers": layers}


def _rank_and_alpha(
    layer: str, config: Mapping[str, Any], rows: Mapping[str, slice], names: Mapping[str, slice]
) -> tuple[int, float]:
    """Return rank and alpha of each pair of a layer; a matrix of peft has the sum over the pairs that change it."""
    found = set()
    for name, matrix_rows in names.items():
        if n := len(_overlapping(rows, matrix_rows)):
            rank = _setting(config, "rank_pattern", "r", name)
            alpha = _setting(config, "alpha_pattern", "lora_alpha", name)
            found.add((int(rank / n), alpha / n))
    if len(found) > 1:
        raise ModelError(f"the parts of {layer} differ in rank or alpha, which is not supported")
    return found.pop()


def _setting(config: Mapping[str, Any], patterns: str, default: str, name: str) -> Any:
    """Return a setting of the matrix `name`; the first pattern that matches the end of the name decides, as in peft."""
    for pattern, value in config.get(patterns, {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return config[default]


def _tensors(matrices: list[PeftMatrix]) -> dict[str, Tensor]:
    """Return the tensors in peft's form."""
    tensors: dict[str, Tensor] = {}
    for matrix in matrices:
        a, b = matrix.lora.stacked(matrix.parts)
        tensors[f"{PREFIX}{matrix.name}.lora_A.weight"] = a
        tensors[f"{PREFIX}{matrix.name}.lora_B.weight"] = b[matrix.rows]
    return tensors


def _copy_tensors(matrices: list[PeftMatrix], tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors in peft's form into the pairs of our layers: the inverse of `_tensors`."""
    check_tensors(tensors, _tensors(matrices))
    for lora, name, rows, parts in matrices:
        a, b = (tensors[f"{PREFIX}{name}.lora_{which}.weight"] for which in "AB")
        b = F.pad(b, (0, 0, rows.start, lora.base.out_features - rows.stop))  # to all rows of our layer
        for part, a_part, b_part in zip(parts, a.split(lora.rank), b.split(lora.rank, dim=1), strict=True):
            lora.lora_A[part].data.copy_(a_part)
            lora.lora_B[part].data += b_part[lora.rows[part]]  # B is 0 so far


def _matrices(model: nn.Module) -> Iterator[PeftMatrix]:
    """Yield all matrices of peft that the LoRA layers of a model change."""
    for layer, lora in model.named_modules():
        if isinstance(lora, LoRA):
            for name, rows in _peft_names(model, layer, lora.base.out_features).items():
                if parts := _overlapping(lora.rows, rows):
                    yield PeftMatrix(lora, name, rows, parts)


def _overlapping(rows: Mapping[str, slice], theirs: slice) -> list[str]:
    return [part for part, ours in rows.items() if ours.start < theirs.stop and theirs.start < ours.stop]


def _family(model: nn.Module) -> Family | None:
    """Return the model family of transformers that can hold the model; None if there is none."""
    try:
        return hf_form(model)[0]
    except ModelError:
        return None


def _peft_names(model: nn.Module, layer: str, n_rows: int) -> dict[str, slice]:
    """Return the names of a linear layer's matrix or its parts, with their rows.

    Names are those of transformers, or ours if it has no such model.
    """
    family = _family(model)
    if family is None:
        sites = lora_sites(model)
        parts = {
            name: site.rows for name, site in sites.items() if site.layer == layer and site.part in ("q", "k", "v")
        }
        return parts or {layer: slice(0, n_rows)}
    # The conversion of weights splits, renames or transposes. We send a matrix of one column through it, whose entry in
    # row i is i: the numbers that come out under a name are the rows of ours which that matrix of theirs holds.
    views = family.tensor_views(model, f"{layer}.weight", torch.arange(n_rows)[:, None])
    return {name.removesuffix(".weight"): slice(int(rows.min()), int(rows.max()) + 1) for name, rows in views}

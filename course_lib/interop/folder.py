"""Models in folders, as transformers keeps them: config.json and model.safetensors. Read, written, and never run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course_lib.errors import ModelError
from course_lib.files import written
from course_lib.interop.hf import FAMILIES
from course_lib.interop.hf.family import Family
from course_lib.models.bag_clip import BagCLIP, BagCLIPConfig
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.vit import ViT, ViTConfig
from course_lib.models.vlm import VLM, VLMConfig

# What transformers has no name for is kept in our own words: the config as it is, under these model types.
OURS: dict[Any, tuple[Any, type[nn.Module]]] = {
    "course_bag_clip": (BagCLIPConfig, BagCLIP),
    "course_clip": (CLIPConfig, CLIP),
    "course_gpt": (GPTConfig, GPT),
    "course_vit": (ViTConfig, ViT),
    "course_vlm": (VLMConfig, VLM),
}

LISTED = 20  # what does not fit is named, up to so many
INDEX = "model.safetensors.index.json"  # of a model in several files


def from_pretrained(folder: str | Path, dtype: torch.dtype | None = torch.float32) -> Any:
    """The model of a Hugging Face folder, in eval mode: GPT-2, Llama and all others of course_lib.interop.hf.

    Language models are read with their output layer, ViT as a classifier: what AutoModelForCausalLM and the like save.
    dtype: of the weights in memory; None leaves them as they are in the file.
    Raises ModelError for a folder that is incomplete, a damaged file, a family or setting that is not supported, and
    for tensors that are missing, left over or of another shape, all of them listed.
    """
    folder = Path(folder)
    hf = _read_config(folder)
    _family(hf)  # before gigabytes are read in vain
    state = _read_tensors(folder)
    if dtype is not None:
        state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    try:
        return from_hf(hf, state)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
    except (ValueError, TypeError, AttributeError) as error:  # no number where one should be, or one that cannot be
        raise ModelError(f"{folder}: a setting of config.json cannot be used ({error})") from None


def from_hf(hf: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    """The model, in eval mode, that a Hugging Face config (the contents of config.json) and its tensors describe.

    Tensors whose layout is ours already are shared, not copied. Raises ModelError as `from_pretrained` does.
    """
    family = _family(hf)
    if family:
        config, model_type = family.read(hf, state), family.model
    else:
        kind, model_type = OURS[hf["model_type"]]
        try:
            config = _config(kind, {name: value for name, value in hf.items() if name != "model_type"})
        except (TypeError, KeyError, StopIteration) as error:  # a setting that the config does not have
            raise ModelError(
                f"the settings are none of {hf['model_type']} ({error}); was it written by another version?"
            ) from None
    _must_be_buildable(config, len(state))
    try:
        with _NoInitialisation():
            model = model_type(config)
    except RuntimeError as error:  # of torch, where a tensor would be larger than the memory
        raise ModelError(f"the config asks for more than fits into the memory ({str(error).splitlines()[0]})") from None
    load(model, state, family)
    return model.eval()


def _family(hf: Mapping[str, Any]) -> Family | None:
    """The family of a config, None for one in our own words. Raises ModelError where it is neither."""
    kind = hf.get("model_type")
    family = next((family for family in FAMILIES if family.model_type == kind), None)
    if family is None and not (isinstance(kind, str) and kind in OURS):
        known = ", ".join(sorted(family.model_type for family in FAMILIES))
        raise ModelError(f'model_type "{kind}" is not supported; supported are: {known}')
    return family


def _must_be_buildable(config: Any, n_tensors: int) -> None:
    """Raise ModelError for more layers than there are tensors: building them could take for ever."""
    for name, value in vars(config).items():
        if is_dataclass(value):
            _must_be_buildable(value, n_tensors)
        elif name.endswith("_layers") and isinstance(value, int) and value > n_tensors:
            raise ModelError(f"the config asks for {name}={value}, and there are {n_tensors} tensors in all")


def _config(kind: Any, values: Mapping[str, Any]) -> Any:
    """A config of ours as `asdict` has left it, with the configs that it may hold."""
    kinds = {name: (hint, *get_args(hint)) for name, hint in get_type_hints(kind).items()}  # X, or X | None
    values = dict(values)
    for name, value in values.items():
        if isinstance(value, dict):
            fits = (k for k in kinds[name] if is_dataclass(k) and value.keys() <= {field.name for field in fields(k)})
            values[name] = _config(next(fits), value)
    return kind(**values)


def to_hf(model: nn.Module, folder: str | Path) -> None:
    """Write the folder that transformers opens: config.json and model.safetensors, in float32 or the weights' dtype.

    A tokenizer and the ids of its special tokens are no part of a model of ours: write them beside it.
    Each file appears whole or not at all, the config last. Raises ModelError when no family of transformers can hold
    the model, saying what stands in the way; `save` keeps any model.
    """
    family, hf = in_their_words(model)
    tensors = {theirs: part for name, t in own(model).items() for theirs, part in family.parts(model, name, t)}
    dtypes = {str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()}
    write_files(Path(folder), hf | {"dtype": dtypes.pop() if len(dtypes) == 1 else "float32"}, tensors)


def in_their_words(model: Any) -> tuple[Family, dict[str, Any]]:
    """The family of transformers that can hold a model, and its config there. Raises ModelError where none can."""
    refusals = []
    for family in FAMILIES:
        if family.model is type(model):
            try:
                return family, family.write(model.config)
            except ModelError as error:
                refusals.append(str(error))
    raise ModelError("; ".join(refusals) or f"transformers has no family for {type(model).__name__}")


def save(model: nn.Module, folder: str | Path) -> None:
    """Write a folder that `from_pretrained` reads: as `to_hf` where a family fits, otherwise in our words."""
    try:
        to_hf(model, folder)
    except ModelError:
        kind = next((kind for kind, (_, model_type) in OURS.items() if model_type is type(model)), None)
        if kind is None:
            raise
        write_files(Path(folder), {"model_type": kind, **asdict(_complete(model))}, own(model))


def _complete(model: Any) -> Any:
    """The config of a model, which must say all that it takes to build it. Raises ModelError where it does not."""
    try:
        with torch.device("meta"), _NoInitialisation():
            same = {name: tensor.shape for name, tensor in type(model)(model.config).state_dict().items()}
    except ValueError as error:
        raise ModelError(f"the folder could not be read again: {error}") from None
    if same != {name: tensor.shape for name, tensor in model.state_dict().items()}:
        raise ModelError(
            f"a part of the {type(model).__name__} was replaced, and its config cannot say by what, so the folder "
            "could not be read again; save the weights of that part by themselves"
        )
    return model.config


def own(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors by name, each once: a tied output layer is the embedding."""
    ties = _ties(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in ties}


def load(model: nn.Module, state: Mapping[str, Tensor], family: Family | None = None) -> None:
    """Give the model the tensors of `state`, named as the family has them, or as the model has where there is none.

    Raises ModelError that lists the tensors that are missing, left over or of another shape.
    """
    if family:
        prefix = "" if any(name.startswith(family.prefix) for name in state) else family.prefix
        state = {prefix + family.current(name): tensor for name, tensor in state.items()}
    dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), torch.float32)
    ties = _ties(model)
    problems, left = [], set(state)
    loaded: dict[str, Tensor] = {}
    for name, parameter in model.state_dict().items():
        target = torch.empty_like(parameter, dtype=dtype if parameter.is_floating_point() else None)
        views = dict(family.parts(model, name, target)) if family else {name: target}
        left -= views.keys()
        if name in ties:  # it comes with the tensor that it is tied to, of which the file may hold a copy
            problems += [
                f"{theirs} differs from the embedding that it is tied to"
                for theirs in views.keys() & state.keys()
                if ties[name] in loaded and not torch.equal(state[theirs], loaded[ties[name]])
            ]
            continue
        for theirs, view in views.items():
            if theirs not in state:
                problems.append(f"{theirs} is missing")
            elif state[theirs].shape != view.shape:
                problems.append(f"{theirs} has the shape {tuple(state[theirs].shape)}, not {tuple(view.shape)}")
        if problems:
            continue
        for theirs, view in views.items():
            if view.shape == target.shape and view.stride() == target.stride():
                target = state[theirs]  # the very tensor: nothing to copy
            else:
                view.copy_(state[theirs])
        loaded[name] = target
    ignored = family.ignored if family else ()
    problems += [f"{name} is left over" for name in sorted(left) if not name.endswith(ignored)]
    if problems:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise ModelError(f"the tensors do not fit the config: {'; '.join(problems[:LISTED])}{more}")
    model.load_state_dict(loaded, assign=True, strict=False)
    for name, tied_to in ties.items():  # loading made two parameters of the one
        module, _, kind = name.rpartition(".")
        setattr(model.get_submodule(module), kind, model.get_parameter(tied_to))


def _ties(model: nn.Module) -> dict[str, str]:
    """The parameters that are another one, earlier in the model: an output layer that is the embedding."""
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(p), name) for name, p in model.named_parameters(remove_duplicate=False)}
    return {name: other for name, other in names.items() if name != other}


class _NoInitialisation(TorchFunctionMode):
    """Leaves new parameters as they are: memory that nobody has touched costs none, and no time is spent on it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if folder.is_file():
        raise ModelError(f"{folder} is a file; pass the folder that holds it, with config.json and model.safetensors")
    if not folder.is_dir():
        raise ModelError(
            f"there is no folder {folder}; pass the folder that holds config.json and model.safetensors (models are "
            "not looked up by name: nothing is downloaded)"
        )
    try:
        return read_settings(file)
    except FileNotFoundError:
        raise ModelError(f"{folder} has no config.json, so it is not the folder of a model") from None


def read_settings(file: Path) -> dict[str, Any]:
    """A JSON file of settings by name. Raises ModelError where it is damaged, and FileNotFoundError."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{file} is not JSON ({error}); copy it again") from None
    if not isinstance(config, dict):
        raise ModelError(f"{file} holds no settings; copy it again")
    return config


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    names = ["model.safetensors"]
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{index} is damaged; copy it again") from None
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(folder / Path(name).name)
    return tensors


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises ModelError where it is missing or damaged."""
    try:
        return load_file(file)
    except FileNotFoundError:
        other = " (pytorch_model.bin is not read, since loading a pickle can run code)"
        pickled = other if (file.parent / "pytorch_model.bin").exists() else ""
        raise ModelError(f"{file.parent} has no {file.name}{pickled}; copy it there") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is damaged or cut short ({error}); copy it again") from None


def write_files(
    folder: Path,
    config: dict[str, Any],
    tensors: Mapping[str, Tensor],
    names: tuple[str, str] = ("config.json", "model.safetensors"),
    notes: dict[str, str] | None = None,
) -> None:
    """Write settings and tensors into a folder: each file appears whole or not at all, the settings last.

    notes: texts for the header of the tensors. Raises ModelError where there is no room.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    settings, weights = names
    try:
        with written(folder, weights, settings) as partial:
            save_file(tensors, partial / weights, metadata={"format": "pt", **(notes or {})})
            (partial / settings).write_text(text, encoding="utf-8")
        (folder / f"{weights}.index.json").unlink(missing_ok=True)  # of older tensors in several files, read before one
    except (OSError, SafetensorError) as error:  # safetensors wraps what the disk says
        raise ModelError(f"nothing could be written to {folder} ({error}); make room, or name another folder") from None

"""Model folders in the format of transformers: config.json and model.safetensors. No code in them is ever run."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.interop.hf import FAMILIES
from course_lib.interop.hf.family import Family
from course_lib.interop.loading import load_tensors, unique_tensors
from course_lib.interop.model_files import read_settings, read_tensors, write_model_files
from course_lib.models.bag_clip import BagCLIP, BagCLIPConfig
from course_lib.models.bert import Bert
from course_lib.models.clip import CLIP, CLIPConfig
from course_lib.models.gpt import GPT, GPTConfig
from course_lib.models.t5 import T5
from course_lib.models.vit import ViT, ViTConfig
from course_lib.models.vlm import VLM, VLMConfig
from course_lib.settings import from_stored

Model = GPT | Bert | T5 | ViT | CLIP | BagCLIP | VLM

# Models without a family in transformers are kept in the course's own form: our config, with these model types.
OWN_TYPES: dict[str, tuple[Any, type[Model]]] = {
    "course_bag_clip": (BagCLIPConfig, BagCLIP),
    "course_clip": (CLIPConfig, CLIP),
    "course_gpt": (GPTConfig, GPT),
    "course_vit": (ViTConfig, ViT),
    "course_vlm": (VLMConfig, VLM),
}


def from_pretrained(folder: str | Path, dtype: torch.dtype | None = torch.float32) -> Model:
    """Load the model of a Hugging Face folder, in eval mode: GPT-2, Llama and all others of `course_lib.interop.hf`.

    Language models are read with their output layer, ViT as a classifier: what AutoModelForCausalLM and the like save.

    Args:
        folder: A folder with config.json and model.safetensors.
        dtype: The dtype of the weights in memory; None for the dtype of the file.

    Returns:
        The model. Its class depends on the folder; check with isinstance.

    Raises:
        ModelError: If the folder is incomplete, a file is damaged, a family or setting is not supported, or tensors are
            missing, left over or of another shape; the message lists all of these.
    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise ModelError(
            f"{folder} is no folder with a config.json; pass the one that holds config.json and model.safetensors "
            "(models are not looked up by name: nothing is downloaded)"
        )
    hf = read_settings(folder / "config.json")
    _find_family(hf)  # fails before gigabytes are read in vain
    state = _read_all_tensors(folder)
    if dtype is not None:
        state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    try:
        return from_hf(hf, state)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None


def from_hf(hf: Mapping[str, Any], state: Mapping[str, Tensor]) -> Model:
    """Build the model that a Hugging Face config and its tensors describe, in eval mode.

    Args:
        hf: The contents of config.json.
        state: Tensors by their names in transformers. Those whose layout is ours already are shared, not copied.

    Raises:
        ModelError: If the family, a setting or the tensors do not fit, as for `from_pretrained`.
    """
    family = _find_family(hf)
    model_type: Any
    try:
        if family:
            config, model_type = family.read(hf, state), family.model
        else:
            config_type, model_type = OWN_TYPES[hf["model_type"]]
            config = _config_from_dict(config_type, {k: value for k, value in hf.items() if k != "model_type"})
        _check_layers(config, len(state))
        with torch.device("meta"):  # no memory and no random initialisation for weights that are loaded
            model = model_type(config)
        load_tensors(model, state, family)
    except ModelError:
        raise
    except RuntimeError as error:  # torch's, if a tensor would be larger than the memory
        raise ModelError(f"the config asks for more than fits into the memory ({str(error).splitlines()[0]})") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # a setting that is missing, or not a number
        raise ModelError(f"a setting of config.json cannot be used ({error})") from None
    return model.eval()


def to_hf(model: nn.Module, folder: str | Path) -> None:
    """Write a folder that transformers can open: config.json and model.safetensors, in the dtype of the weights.

    A tokenizer and the ids of its special tokens are not part of our models: write them into the same folder. Each file
    appears whole or not at all, the config last.

    Raises:
        ModelError: If no family of transformers can hold the model, with the reason (`save_pretrained` keeps any
            model), or if the folder cannot be written.
    """
    family, config = hf_form(model)
    tensors = {
        theirs: view
        for name, tensor in unique_tensors(model).items()
        for theirs, view in family.tensor_views(model, name, tensor)
    }
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if tensor.is_floating_point()}
    dtype = dtypes.pop() if len(dtypes) == 1 else "float32"
    write_model_files(Path(folder), config | {"dtype": dtype}, tensors)


def save_pretrained(model: nn.Module, folder: str | Path) -> None:
    """Write a folder that `from_pretrained` reads: as `to_hf` if a family fits, otherwise in the course's own form.

    Raises:
        ModelError: If a part of the model was replaced by one that its config cannot describe, if this is a model of
            another library, or if the folder cannot be written.
    """
    own_type = next((name for name, (_, model_type) in OWN_TYPES.items() if model_type is type(model)), None)
    try:
        hf_form(model)
    except ModelError:
        if own_type is None:
            raise
        _check_complete(model)
        config: Any = model.config
        write_model_files(Path(folder), {"model_type": own_type, **asdict(config)}, unique_tensors(model))
    else:
        _check_complete(model)
        to_hf(model, folder)


def hf_form(model: nn.Module) -> tuple[Family, dict[str, Any]]:
    """Return the family of a model in transformers, and its contents of config.json. Nothing is written.

    Raises:
        ModelError: If no family can hold the model, with the reason.
    """
    refusals = []
    for family in FAMILIES:
        if family.model is type(model):
            try:
                return family, family.write(model.config)
            except ModelError as error:
                refusals.append(str(error))
    raise ModelError("; ".join(refusals) or f"transformers has no family for {type(model).__name__}")


def _find_family(hf: Mapping[str, Any]) -> Family | None:
    """Return the family of a config, None for the course's own form. Raises ModelError if it is neither."""
    kind = hf.get("model_type")
    family = next((family for family in FAMILIES if family.model_type == kind), None)
    if family is None and not (isinstance(kind, str) and kind in OWN_TYPES):
        known = ", ".join(sorted(family.model_type for family in FAMILIES))
        raise ModelError(f'model_type "{kind}" is not supported; supported are: {known}')
    return family


def _check_layers(config: Any, n_tensors: int) -> None:
    """Raise ModelError if there are more layers than tensors: building them could take for ever."""
    for name, value in vars(config).items():
        if is_dataclass(value):
            _check_layers(value, n_tensors)
        elif name.endswith("_layers") and isinstance(value, int) and value > n_tensors:
            raise ModelError(f"the config asks for {name}={value}, and there are {n_tensors} tensors in all")


def _check_complete(model: Any) -> None:
    """Raise ModelError if the model cannot be built again from its config."""
    try:
        with torch.device("meta"):
            same = {name: tensor.shape for name, tensor in type(model)(model.config).state_dict().items()}
    except ValueError as error:
        raise ModelError(f"the folder could not be read again: {error}") from None
    if same != {name: tensor.shape for name, tensor in model.state_dict().items()}:
        raise ModelError(
            f"a part of the {type(model).__name__} was replaced, and its config cannot say by what, so the folder "
            "could not be read again; save the weights of that part by themselves"
        )


def _config_from_dict(config_type: Any, values: Mapping[str, Any]) -> Any:
    """Build our config, with any nested configs, from the dict that `asdict` made of it."""
    types = {name: (hint, *get_args(hint)) for name, hint in get_type_hints(config_type).items()}  # X, or X | None
    values = dict(values)
    for name, value in values.items():
        if isinstance(value, dict):
            fits = [t for t in types[name] if is_dataclass(t) and value.keys() <= {field.name for field in fields(t)}]
            if not fits:
                raise ValueError(f"{name}={value} is none of ours")
            values[name] = _config_from_dict(fits[0], value)
    return from_stored(config_type, values)


def _read_all_tensors(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"  # for a model in several files
    names = ["model.safetensors"]
    if index.exists():
        try:
            names = sorted(set(read_settings(index)["weight_map"].values()))
        except (KeyError, TypeError, AttributeError):
            raise ModelError(f"{index} is damaged; copy it again") from None
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(folder / Path(name).name)  # the name alone: an index cannot point outside the folder
    return tensors

"""The two files of a model on disk: settings as JSON, tensors as safetensors. No pickle is ever read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from course_lib.errors import DataError, ModelError
from course_lib.files import read_json, written


def read_settings(file: Path) -> dict[str, Any]:
    """Read settings from a JSON file.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    try:
        settings = read_json(file)
    except DataError as error:
        raise ModelError(str(error)) from None
    if not isinstance(settings, dict):
        raise ModelError(f"{file} holds no settings; copy it again")
    return settings


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    try:
        return load_file(file)
    except FileNotFoundError:
        other = " (pytorch_model.bin is not read, since loading a pickle can run code)"
        pickled = other if (file.parent / "pytorch_model.bin").exists() else ""
        raise ModelError(f"{file.parent} has no {file.name}{pickled}; copy it there") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is damaged or cut short ({error}); copy it again") from None


def write_model_files(
    folder: Path,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    names: tuple[str, str] = ("config.json", "model.safetensors"),
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write settings and tensors into a folder; each file appears whole or not at all, the settings last.

    Args:
        folder: The folder, created if it does not exist.
        settings: The settings, written as JSON.
        tensors: Tensors by name.
        names: The names of the file of settings and the file of tensors.
        notes: Texts for the header of the file of tensors.

    Raises:
        ModelError: If the disk is full or the folder cannot be written.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    settings_name, tensors_name = names
    try:
        with written(folder, tensors_name, settings_name) as partial:
            save_file(tensors, partial / tensors_name, metadata={"format": "pt", **(notes or {})})
            (partial / settings_name).write_text(text, encoding="utf-8")
        # An index belongs to older tensors in several files, and would be read instead of the new file.
        (folder / f"{tensors_name}.index.json").unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:  # safetensors wraps the errors of the disk
        raise ModelError(f"nothing could be written to {folder} ({error}); make room, or name another folder") from None

"""Opening a model for generation: a folder of `course train`, a Hugging Face folder, or the name of a published one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from course_lib.data.packages import pretrained
from course_lib.data.packages.registry import registry
from course_lib.errors import GenerationError
from course_lib.infer.generation.sampling import Sampling
from course_lib.infer.generation.text_generator import TextGenerator
from course_lib.infer.quantization.quantize import quantize
from course_lib.interop import from_pretrained, smollm2
from course_lib.interop.model_files import read_settings
from course_lib.measure import device
from course_lib.models import GPT
from course_lib.shipped import shipped_model


def open_model(name: str | Path, bits: int | None = None) -> TextGenerator:
    """Open a model on the device of the preset.

    A folder is that of a finished `course train`, or has config.json, model.safetensors and tokenizer.json. A name
    takes precedence over a folder of the same name, which ./NAME reaches.

    Args:
        name: The name of a published model, or a folder.
        bits: 8 or 4, to quantize the weights; None for the weights as they are.

    Raises:
        GenerationError: If the model is not there, is damaged, or does not generate text; for some damaged files,
            another `CourseError`.
    """
    opened = _find(name)
    if bits is not None:
        quantize(opened.model, bits)
    return opened


def _find(name: str | Path) -> TextGenerator:
    folder, names = Path(name), ", ".join(PUBLISHED)
    if published := PUBLISHED.get(str(name)):
        return published(str(name))
    if folder.is_dir():
        try:
            return _open(folder)
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise GenerationError(f"{folder}: a file of it says what cannot be ({error!r}); copy it again") from None
    if folder.exists():
        raise GenerationError(f"{name} is a file; pass the folder that holds config.json and model.safetensors")
    if str(name) in registry():
        raise GenerationError(f"{name} is no model that writes text; pass a folder, or one of: {names}")
    raise GenerationError(
        f"there is no folder {name} and no model of that name; folders in runs/ come from `course train`, and the "
        f"models with a name are: {names}"
    )


def _open(folder: Path) -> TextGenerator:
    name = folder.resolve().name
    if not (folder / "config.json").exists():
        if (folder / "model" / "config.json").exists():
            folder = folder / "model"
        elif (folder / "recipe.json").exists():
            raise GenerationError(f"{folder} holds a run that is not finished; go on with `course train`, --resume")
        elif (folder / "adapter_config.json").exists():
            raise GenerationError(f"{folder} holds what a model was tuned with, and no model; merge the two")
    elif folder.name == "model":  # OUT/model of `course train`: the settings of its run say more
        name = folder.resolve().parent.name
    config = _settings(folder / "config.json")
    model = from_pretrained(folder)
    if not isinstance(model, GPT):
        raise GenerationError(
            f"{folder} holds a {type(model).__name__}, which does not continue texts; "
            "pass the folder of a decoder, such as GPT-2 or Llama"
        )
    tokenizer = _tokenizer(folder)
    settings = _settings(folder / "tokenizer_config.json")
    special = {key: value for key, value in settings.items() if key.endswith("_token")}
    special = {key: value["content"] if isinstance(value, dict) else value for key, value in special.items()}
    special = {key: value for key, value in special.items() if isinstance(value, str)}
    generation = _settings(folder / "generation_config.json")
    end = generation.get("eos_token_id")
    if end is None:
        end = config.get("eos_token_id")
    if end is None and "eos_token" in special:
        end = tokenizer.token_to_id(special["eos_token"])
    ends = end if isinstance(end, list) else [] if end is None else [end]
    template = _template(folder, settings)
    return TextGenerator(model.to(device()), tokenizer, frozenset(ends), template, special, _sampling(generation), name)


def _sampling(settings: dict[str, Any]) -> Sampling:
    """Read the settings of sampling in generation_config.json if it says do_sample; otherwise return the defaults."""
    if not settings.get("do_sample"):
        return Sampling()
    found = {name: settings[name] for name in ("temperature", "top_k", "top_p", "min_p") if settings.get(name)}
    try:
        return Sampling(**found)
    except ValueError as error:
        raise GenerationError(f"generation_config.json: {error}") from None


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if not file.exists():
        raise GenerationError(
            f"{folder} has no tokenizer.json, so its text cannot be read or written; copy the tokenizer of the model "
            "there, or let transformers make it from older files: "
            f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # `tokenizers` raises nothing more specific
        raise GenerationError(f"{file} is damaged ({error}); copy it again") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _template(folder: Path, settings: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):  # several templates, by name
        template = {each["name"]: each["template"] for each in template}.get("default")
    return template


def _settings(file: Path) -> dict[str, Any]:
    return read_settings(file) if file.exists() else {}


def _smollm2(name: str) -> TextGenerator:
    model, tokenizer = smollm2()
    fields = pretrained.smollm2_fields()
    ids = {kind: fields[f"tokenizer.ggml.{kind}_token_id"] for kind in ("bos", "eos")}
    special = {f"{kind}_token": fields["tokenizer.ggml.tokens"][i] for kind, i in ids.items()}
    end = frozenset({ids["eos"]})
    return TextGenerator(model.to(device()), tokenizer, end, fields["tokenizer.chat_template"], special, SMOLLM2, name)


# "model.generate(inputs, max_new_tokens=50, temperature=0.2, top_p=0.9, do_sample=True)".
# Source: Hugging Face, model card of SmolLM2-135M-Instruct, "How to use".
SMOLLM2 = Sampling(temperature=0.2, top_p=0.9)


def _shipped(name: str) -> TextGenerator:
    return _open(shipped_model(name))


PUBLISHED: dict[str, Callable[[str], TextGenerator]] = {
    "smollm2": _smollm2,
    "smollm2-135m-instruct": _smollm2,
    "moe": _shipped,
}

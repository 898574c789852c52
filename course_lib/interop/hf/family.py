"""The format of a model family in transformers: one table of settings and one of tensors, for reading and writing.

A setting that we do not support is refused by name, never ignored: a model that runs wrong is worse than one that does
not load. Only dropout is ignored, since it acts in training only.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.settings import from_stored

# Settings that do not change the results. Any other that no table mentions has to be off: None, False, 0 or empty.
HARMLESS = {
    "_attn_implementation_autoset", "architectures", "attn_pdrop", "dtype", "embd_pdrop", "id2label",
    "initializer_factor", "initializer_range", "label2id", "model_type", "n_ctx", "output_attentions",
    "output_hidden_states", "pretraining_tp", "resid_pdrop", "return_dict", "task_specific_params", "torch_dtype",
    "transformers_version", "use_cache",
    # Settings of generation, in old configs even of models that generate no text.
    "length_penalty", "max_length", "num_beam_groups", "num_beams", "num_return_sequences", "repetition_penalty",
    "temperature", "top_k", "top_p",
}  # fmt: skip
HARMLESS_PARTS = ("_token_id", "name_or_path", "summary_", "dropout")
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu",
    "relu": "relu", "silu": "silu",
}  # fmt: skip
REQUIRED = object()
Names = dict[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class Setting:
    """One setting of a config: its name and its values in transformers.

    Attributes:
        name: The name in transformers; several names if one of our settings is several there, which must then agree.
        default: The value if the config does not say.
        values: Our value for each value in transformers, if the two differ.
    """

    name: str | tuple[str, ...]
    default: Any = REQUIRED
    values: Mapping[Any, Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the setting in transformers."""
        return (self.name,) if isinstance(self.name, str) else self.name

    def read(self, left: dict[str, Any]) -> Any:
        """Take the setting out of the rest of a config of transformers, and return our value."""
        values = [left.pop(name, None) for name in self.names]
        values = [self.default if value is None else value for value in values]
        for name, value in zip(self.names, values, strict=True):
            if value is REQUIRED:
                raise ModelError(f"the config has no {name}; is the file complete?")
            if value != values[0]:
                raise ModelError(f"{name}={value!r} is not supported beside {self.names[0]}={values[0]!r}")
            if self.values and value not in self.values:
                raise ModelError(
                    f"{name}={value!r} is not supported; supported are: {', '.join(map(str, self.values))}"
                )
        return self.values[values[0]] if self.values else values[0]

    def write(self, value: Any) -> dict[str, Any]:
        """Return the setting for a config of transformers; a value unknown there is refused when read back."""
        if self.values:
            value = next((theirs for theirs, ours in self.values.items() if ours == value), value)
        return dict.fromkeys(self.names, value)


@dataclass(frozen=True)
class Family:
    """A model family of transformers: our model for it, and the names of its settings and tensors.

    "Theirs" is what transformers has.

    Attributes:
        model_type: The model_type in their config.json.
        architecture: Their class, or a function that returns it for our config.
        config: Our config class.
        model: Our model class.
        settings: Their setting for each of ours.
        names: Their module name for each of ours, with * for a number; or a function that returns this table for our
            config. It is a tuple of names if one tensor of ours holds queries, keys and values, and a name with one
            more * if it holds the matrices of all experts. A name with .weight or .bias is for that tensor alone.
        fixed: Our settings that are the same in the whole family.
        expected: Their settings that are the same in the whole family; another value is refused.
        harmless: Their settings that do not change the results of this family.
        transposed: Whether they store the matrices of blocks as input by output.
        unsqueezed: The number of axes of size one that they put in front of a tensor.
        nested: Their name and the family, for each part of ours that has its own config. The part's names go into
            `names`, by `prefixed`.
        prefix: The prefix of their tensor names; it may be missing in a file.
        ignored_tensors: Endings of the names of tensors that we do not need.
        renamed: Regular expressions for tensor names in files of other versions, and their replacements, applied one
            after the other.
        flatten: Turns an older or nested config of theirs into flat settings.
        finish: Turns the flat settings back into a config of theirs, once they are written.
        detect: Returns the settings of ours that only the tensors show.
    """

    model_type: str
    architecture: str | Callable[[Any], str]
    config: type
    model: type[nn.Module]
    settings: Mapping[str, Setting]
    names: Names | Callable[[Any], Names]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    harmless: Set[str] = frozenset()
    transposed: bool = False
    unsqueezed: Mapping[str, int] = field(default_factory=dict)
    nested: "Mapping[str, tuple[str, Family]]" = field(default_factory=dict)
    prefix: str = ""
    ignored_tensors: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    flatten: Callable[[dict[str, Any]], dict[str, Any]] = dict
    finish: Callable[[dict[str, Any]], dict[str, Any]] = dict
    detect: Callable[[Mapping[str, Tensor]], dict[str, Any]] = lambda tensors: {}

    def read(self, hf: Mapping[str, Any], tensors: Mapping[str, Tensor] = MappingProxyType({})) -> Any:
        """Convert their config to ours.

        Raises:
            ModelError: If a setting is missing or not supported; the message names it.
        """
        left = self.flatten(dict(hf))
        values = dict(self.fixed) | {ours: setting.read(left) for ours, setting in self.settings.items()}
        for ours, (place, family) in self.nested.items():
            inner = left.pop(place, None) or {}
            if not isinstance(inner, dict):
                raise ModelError(f"{place}={inner!r} is no config")
            if (kind := inner.get("model_type")) not in (family.model_type, None):
                raise ModelError(f"{place} of model_type={kind!r} is not supported; supported is: {family.model_type}")
            values[ours] = family.read(inner)
        for name, value in self.expected.items():
            if (found := left.pop(name, None)) not in (value, None):
                raise ModelError(f"{name}={found!r} is not supported")
        for name, value in left.items():
            if value and name not in HARMLESS | self.harmless and not any(part in name for part in HARMLESS_PARTS):
                raise ModelError(f"{name}={value!r} is not supported")
        return from_stored(self.config, values | self.detect(tensors))

    def write(self, config: Any) -> dict[str, Any]:
        """Convert our config to theirs.

        Raises:
            ModelError: If their format cannot express a setting; the message names it.
        """
        kind = self.architecture if isinstance(self.architecture, str) else self.architecture(config)
        hf = {"model_type": self.model_type, "architectures": [kind], "dtype": "float32", **self.expected}
        for ours, setting in self.settings.items():
            hf |= setting.write(getattr(config, ours))
        for ours, (place, family) in self.nested.items():
            if not isinstance(inner := getattr(config, ours), family.config):
                raise ModelError(f"{self.model_type} cannot hold this model: it needs a {family.config.__name__}")
            hf[place] = family.write(inner)
        hf = self.finish(hf)
        try:
            same = self.read(hf)
        except ValueError as error:
            raise ModelError(f"{self.model_type} cannot hold this model: {error}") from None
        for name, value in vars(config).items():
            if name not in self.detect({}) and getattr(same, name) != value:
                raise ModelError(f"{self.model_type} cannot hold this model: it has no {name}={value!r}")
        return hf

    def current_name(self, name: str) -> str:
        """Return the name in `names` of a tensor in a file of another version."""
        for old, new in self.renamed.items():
            name = re.sub(old, new, name)
        return name

    def tensor_views(self, model: nn.Module, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield their names for a tensor of ours, with the view of it for each; used for reading and for writing."""
        names = self.names(model.config) if callable(self.names) else self.names
        module, kind, whole = _named(name, names)
        theirs: Any = names[module]
        pieces: tuple[Tensor, ...] = (tensor,)
        if isinstance(theirs, str):
            theirs = (theirs,)
        else:
            attention: Any = model.get_submodule(whole.rpartition(".")[0])
            pieces = tensor.split(attention.qkv_sizes)
        for place, piece in zip(theirs, pieces, strict=True):
            for number in re.findall(r"(?<=\.)\d+(?=\.|$)", whole):
                place = place.replace("*", number, 1)
            if self.transposed and module.startswith("blocks.") and piece.dim() == 2:
                piece = piece.t()
            piece = piece[(None,) * self.unsqueezed.get(module, 0)]
            if "*" in place:
                yield from ((place.replace("*", str(expert)) + kind, one) for expert, one in enumerate(piece))
            else:
                yield place + kind, piece


def prefixed(ours: str, theirs: str, names: Names) -> Names:
    """Return the table of names for a model that is a part of another, with `ours` and `theirs` as prefixes."""
    return {
        ours + name: theirs + of if isinstance(of, str) else tuple(theirs + each for each in of)
        for name, of in names.items()
    }


def _named(name: str, names: Mapping[str, Any]) -> tuple[str, str, str]:
    """Split `blocks.3.attention.qkv.weight` into its key in the table, its kind (.weight), and its module's name."""
    stem, dot, kind = name.rpartition(".")
    for whole, ending in ((name, ""), (stem, dot + kind)):
        module = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", whole)
        if module in names:
            return module, ending, whole
    raise ModelError(f"this family has no tensor for our {name}")

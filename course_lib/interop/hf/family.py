"""How transformers writes a family of models: one table of settings and one of tensors, each read in both directions.

What a config asks for and we do not have is refused by name, never ignored: a model that runs wrong is worse than one
that does not load. Dropout alone is passed over, since it acts in training only.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from course_lib.errors import ModelError

# Settings that leave the results alone. Any other that no table mentions has to be off: None, False, 0 or empty.
HARMLESS = {
    "_attn_implementation_autoset", "architectures", "attn_pdrop", "dtype", "embd_pdrop", "id2label",
    "initializer_factor", "initializer_range", "label2id", "model_type", "n_ctx", "output_attentions",
    "output_hidden_states", "pretraining_tp", "resid_pdrop", "return_dict", "task_specific_params", "torch_dtype",
    "transformers_version", "use_cache",
    # How to write texts, in old files even of models that write none.
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
    """One setting of a config: what transformers calls it, and what it calls its values.

    Attributes:
        name: the name in transformers; several where they have one setting in parts, which must then agree.
        default: the value when the file is silent.
        values: their values for ours, where the two differ.
    """

    name: str | tuple[str, ...]
    default: Any = REQUIRED
    values: Mapping[Any, Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names for it."""
        return (self.name,) if isinstance(self.name, str) else self.name

    def read(self, left: dict[str, Any]) -> Any:
        """Take the setting out of what is left of their config."""
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
        """The setting in their config; a value for which they have no word stays, and is refused when read back."""
        if self.values:
            value = next((theirs for theirs, ours in self.values.items() if ours == value), value)
        return dict.fromkeys(self.names, value)


@dataclass(frozen=True)
class Family:
    """One family of transformers: which model of ours it is, and what its settings and tensors are called.

    Attributes:
        model_type: as in their config.json.
        architecture: their class, or a function that gives it for a config of ours.
        config: our config class.
        model: our model class.
        settings: for each setting of ours, theirs.
        names: for each module of ours, theirs, with * for a number; or a function that gives this table for a config of
            ours. Where one tensor of ours holds queries, keys and values, a tuple of names; where it holds those of all
            experts, a name with one more *. A name with .weight or .bias is of that tensor alone.
        fixed: settings of ours that are the same in the whole family.
        expected: settings of theirs that are the same in the whole family; another value is refused.
        harmless: settings of theirs that leave the results of this family alone.
        transposed: whether they store the matrices of blocks as input by output.
        unsqueezed: how many axes of size one they put in front of a tensor.
        nested: for each part of ours that has a config of its own, the name of theirs and the family of that part. The
            part's names go into `names`, by `prefixed`.
        prefix: of their tensor names; it may be missing in a file.
        ignored_tensors: endings of the names of tensors that we do without.
        renamed: regular expressions for what tensors are called in files of other versions, and the replacement; they
            are applied one after the other.
        flatten: turns an older or nested config of theirs into flat settings.
        finish: the way back, after the settings have been written.
        detect: settings of ours that only the tensors show.
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
        """Our config for theirs. Raises ModelError naming what is missing or not supported."""
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
        return self.config(**values | self.detect(tensors))

    def write(self, config: Any) -> dict[str, Any]:
        """Their config for ours. Raises ModelError naming what they cannot say."""
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
        """What a tensor of a file of another version is called in `names`."""
        for old, new in self.renamed.items():
            name = re.sub(old, new, name)
        return name

    def tensor_views(self, model: nn.Module, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Their names for a tensor of ours, and the views of it that they are: for reading them as for writing them."""
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
    """The table of names of a model that is a part of another: `ours` and `theirs` go in front."""
    return {
        ours + name: theirs + of if isinstance(of, str) else tuple(theirs + each for each in of)
        for name, of in names.items()
    }


def _named(name: str, names: Mapping[str, Any]) -> tuple[str, str, str]:
    """`blocks.3.attention.qkv.weight` to its line in the table, its kind (.weight), and the name of its module."""
    stem, dot, kind = name.rpartition(".")
    for whole, ending in ((name, ""), (stem, dot + kind)):
        module = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", whole)
        if module in names:
            return module, ending, whole
    raise ModelError(f"this family has no tensor for our {name}")

"""Validation of settings, used by the frozen config of every model and every run when it is created."""

import math
import operator
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, Protocol, TypeVar, cast

# The default of a setting that follows from others, as in `d_ff: int = DERIVED`. A config replaces it by `set_derived`
# while it is created, so that code which reads the setting finds a number, as its type says.
DERIVED: Any = None
T = TypeVar("T")


def check_choices(config: object, choices: Mapping[str, Collection[str]]) -> None:
    """Check that each setting has one of its allowed values.

    Args:
        config: The object with the settings.
        choices: The allowed values of each setting, by name.

    Raises:
        ValueError: If a setting has another value.
    """
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise not_supported(name, getattr(config, name), known)


def not_supported(name: str, value: str, known: Collection[str]) -> ValueError:
    """Return the error for a value that no case handles; it names those that one can use instead."""
    return ValueError(f'{name}="{value}" is not supported; use one of {", ".join(k for k in known if k != value)}')


def check_counts(config: object, *names: str, least: int = 1) -> None:
    """Check that settings are whole numbers of at least `least`.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")


def check_numbers(
    config: object, *names: str, above: float | None = None, least: float | None = None, most: float | None = None
) -> None:
    """Check that settings are finite numbers within the bounds.

    Args:
        config: The object with the settings.
        names: The names of the settings to check.
        above: The bound that they must exceed.
        least: The smallest allowed value.
        most: The largest allowed value.

    Raises:
        ValueError: If a setting is not a finite number within the bounds.
    """
    limits = [("above", above, operator.gt), ("at least", least, operator.ge), ("at most", most, operator.le)]
    bounds = [(words, bound, holds) for words, bound, holds in limits if bound is not None]
    rule = ", ".join(f"{words} {bound}" for words, bound, _ in bounds)
    for name in names:
        value = getattr(config, name)
        finite = isinstance(value, int | float) and math.isfinite(value)
        if not (finite and all(holds(value, bound) for _, bound, holds in bounds)):
            raise ValueError(f"{name}={value!r} must be a number {rule}".rstrip())


def set_derived(config: object, **values: object) -> None:
    """Replace each setting that is DERIVED by the value given here, in a frozen config that is being created."""
    for name, value in values.items():
        if getattr(config, name) is DERIVED:
            object.__setattr__(config, name, value)


def from_stored(config_type: type[T], values: Mapping[str, Any]) -> T:
    """Create a config from settings that were stored, where a None can stand for a setting that is DERIVED."""
    defaults = {field.name: field.default for field in fields(cast(Any, config_type))}
    given = {
        name: value for name, value in values.items() if value is not None or defaults.get(name, MISSING) is not DERIVED
    }
    return config_type(**given)


class HeadSettings(Protocol):
    """The settings of a config that has attention heads."""

    @property
    def d_model(self) -> int:
        """The width of the residual stream."""

    @property
    def n_heads(self) -> int:
        """The number of query heads."""

    @property
    def head_dim(self) -> int:
        """The width of a head."""


def set_derived_head_dim(config: HeadSettings) -> None:
    """Replace a head_dim that is DERIVED by d_model / n_heads.

    Raises:
        ValueError: If that is not a whole number.
    """
    head_dim, rest = divmod(config.d_model, max(config.n_heads, 1))
    if config.head_dim is DERIVED and rest:
        raise ValueError(f"d_model={config.d_model} must be a multiple of n_heads={config.n_heads}, or set head_dim")
    set_derived(config, head_dim=head_dim)

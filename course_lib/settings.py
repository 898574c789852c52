"""Validation of settings, used by the frozen config of every model and every run when it is created."""

import math
import operator
from collections.abc import Collection, Mapping
from typing import Any


def check_choices(config: Any, choices: Mapping[str, Collection[str]]) -> None:
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


def check_counts(config: Any, *names: str, least: int = 1) -> None:
    """Check that settings are whole numbers of at least `least`.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")


def check_numbers(
    config: Any, *names: str, above: float | None = None, least: float | None = None, most: float | None = None
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


def set_defaults(config: Any, **defaults: Any) -> None:
    """Replace None by defaults, in a frozen config that is being created.

    Such a setting is declared as `int | Any`, not as `int | None`: it can be None when a config is created, but never
    is afterwards, so that code that reads it needs no check.
    """
    for name, value in defaults.items():
        if getattr(config, name) is None:
            object.__setattr__(config, name, value)


def set_default_head_dim(config: Any) -> None:
    """Replace head_dim=None by d_model / n_heads.

    Raises:
        ValueError: If that is not a whole number.
    """
    head_dim, rest = divmod(config.d_model, max(config.n_heads, 1))
    if config.head_dim is None and rest:
        raise ValueError(f"d_model={config.d_model} must be a multiple of n_heads={config.n_heads}, or set head_dim")
    set_defaults(config, head_dim=head_dim)

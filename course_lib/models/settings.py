"""What the settings of all models have in common: choices, what None stands for, and sizes that can be."""

from collections.abc import Collection, Mapping
from typing import Any


def choose(config: Any, choices: Mapping[str, Collection[str]]) -> None:
    """Raise ValueError for a setting that is none of its choices."""
    for name, known in choices.items():
        if getattr(config, name) not in known:
            raise ValueError(f'{name}="{getattr(config, name)}" is not supported; use one of {", ".join(known)}')


def fill(config: Any, **usual: Any) -> None:
    """Put the usual in the place of None, in a frozen config that is just being made."""
    for name, value in usual.items():
        if getattr(config, name) is None:
            object.__setattr__(config, name, value)


def fill_head_dim(config: Any) -> None:
    """Put d_model / n_heads in the place of None. Raise ValueError where that is no whole number."""
    head_dim, rest = divmod(config.d_model, max(config.n_heads, 1))
    if config.head_dim is None and rest:
        raise ValueError(f"d_model={config.d_model} must be a multiple of n_heads={config.n_heads}, or set head_dim")
    fill(config, head_dim=head_dim)


def count(config: Any, *names: str, least: int = 1) -> None:
    """Raise ValueError for what is no whole number of at least `least`."""
    for name in names:
        if not isinstance(getattr(config, name), int) or getattr(config, name) < least:
            raise ValueError(f"{name}={getattr(config, name)!r} must be a whole number, at least {least}")


def positive(config: Any, *names: str) -> None:
    """Raise ValueError for what is no number above 0."""
    for name in names:
        if not isinstance(getattr(config, name), int | float) or not getattr(config, name) > 0:
            raise ValueError(f"{name}={getattr(config, name)!r} must be a number above 0")

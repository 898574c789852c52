"""Patterns for the whole numbers between two bounds, as JSON writes them."""

from __future__ import annotations


def whole_numbers(low: int | None, high: int | None) -> str:
    """A pattern for all integers from `low` to `high`, both included; None for no bound. Zero has no sign.

    Raises ValueError where low > high.
    """
    if low is not None and high is not None and low > high:
        raise ValueError(f"no integer is at least {low} and at most {high}")
    options = []
    if low is None or low < 0:
        smallest = 1 if high is None or high >= 0 else -high
        options.append("-" + _positive(smallest, None if low is None else -low))
    if high is None or high >= 0:
        if low is None or low <= 0:
            options.append("0")
        first = max(low or 0, 1)
        if high is None or high >= first:
            options.append(_positive(first, high))
    return f"(?:{'|'.join(options)})"


def _positive(low: int, high: int | None) -> str:
    """All numbers from `low` to `high`, one option for each number of digits."""
    lengths = range(len(str(low)), len(str(low if high is None else high)) + 1)
    options = []
    for n in lengths:
        first, last = 10 ** (n - 1), 10**n - 1
        options.append(_digits(str(max(low, first)), str(last if high is None else min(high, last))))
    if high is None:
        options.append(f"[1-9][0-9]{{{len(str(low))},}}")
    return f"(?:{'|'.join(options)})"


def _digits(low: str, high: str) -> str:
    """All digits from `low` to `high`, which are equally many: below and above, the first digit decides."""
    if not low:
        return ""
    if low[0] == high[0]:
        return low[0] + _digits(low[1:], high[1:])
    n = len(low) - 1
    first, last = int(low[0]), int(high[0])
    options = []
    if low[1:] != "0" * n:
        options.append(low[0] + _digits(low[1:], "9" * n))
        first += 1
    if high[1:] != "9" * n:
        options.append(high[0] + _digits("0" * n, high[1:]))
        last -= 1
    if first <= last:
        options.append(f"[{first}-{last}]" + f"[0-9]{{{n}}}" * (n > 0))
    return f"(?:{'|'.join(options)})"

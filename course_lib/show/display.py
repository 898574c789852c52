"""Display one output wherever the notebook runs: on a page, in a terminal, or in a plain script."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from typing import Any

from course_lib.show.theme import DARK_FILTER


def display_bundle(
    bundle: dict[str, Any], metadata: dict[str, Any] | None = None, place: str | None = None, again: bool = False
) -> None:
    """Show a MIME bundle as one output.

    The front end picks the one representation it prefers, so all of them must say the same. In a plain script
    `text/plain` is printed, with a question mark for each character that the output's encoding lacks.

    Args:
        bundle: The representations by MIME type.
        metadata: The metadata of the output.
        place: A name for the output, unique to it, by which it can be shown again.
        again: Whether to replace what was shown in that place.
    """
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        encoding = sys.stdout.encoding or "utf-8"  # on Windows, in a file, one that lacks most signs
        print(bundle["text/plain"].encode(encoding, errors="replace").decode(encoding))
    else:
        display(bundle, raw=True, metadata=metadata or {}, display_id=place, update=again)


def shown(key: str | None, data: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata by which a page finds what an output shows; none without a key.

    Raises:
        ValueError: If the key is malformed.
    """
    if key is None:
        return {}
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", key):
        raise ValueError(f"the key {key!r} should be lower-case words joined by dots, such as 'recall.accuracy'")
    return {"course_shown": {"key": key, **data}}


def required_text(alt: str | None, what: str) -> str:
    """Return the description without surrounding white space.

    Raises:
        ValueError: If there is none.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            f'{what} needs a description: pass alt="..." saying what a reader who cannot see it should learn.'
        )
    return " ".join(alt.split())


def read_text(name: str) -> str:
    """Return a style sheet or script from this module's folder, with the filter for dark pages filled in."""
    return files("course_lib.show").joinpath(name).read_text("utf-8").replace("DARK_FILTER", DARK_FILTER)

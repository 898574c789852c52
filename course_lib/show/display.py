"""Hands one output to whatever is showing the notebook: a page, a terminal, or nothing at all."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Any

from course_lib.show.theme import DARK_FILTER


def display_bundle(bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Show a MIME bundle as one output.

    The front end picks the one representation it prefers, so all of them must say the same. In a plain script
    `text/plain` is printed, with a question mark for each sign that the script's output cannot say.
    """
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        encoding = sys.stdout.encoding or "utf-8"  # on Windows, in a file, one that lacks most signs
        print(bundle["text/plain"].encode(encoding, errors="replace").decode(encoding))
    else:
        display(bundle, raw=True, metadata=metadata or {})


def required_text(alt: str | None, what: str) -> str:
    """The description without surrounding white space; ValueError when there is none."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            f'{what} needs a description: pass alt="..." saying what a reader who cannot see it should learn.'
        )
    return " ".join(alt.split())


def read_text(name: str) -> str:
    """A style or script that lies beside this module, with the filter of dark pages in it."""
    return files("course_lib.show").joinpath(name).read_text("utf-8").replace("DARK_FILTER", DARK_FILTER)

"""Reading and drawing of the emoji packages, needed once, on the machine that prepares the data; see `emoji`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm import tqdm

from course_lib.data.corpora.emoji_split import VENDORS
from course_lib.data.packages.fetching import fetch
from course_lib.errors import DataError
from course_lib.files import read_json

# Emojibase's groups that hold no concepts: skin tones and hair ("components"), and flags, which nothing but their name
# tells apart from one another.
_DROPPED = {None, 2, 9}


def read_words(locales: Sequence[str]) -> list[dict[str, Any]]:
    """Return the concepts that all vendors draw, in Unicode's order: hexcode, group, subgroup, names, keywords."""
    folder = fetch("emoji-words")
    drawn = set.intersection(*(set(_icons(vendor)) for vendor in VENDORS))
    kinds = read_json(folder / "meta" / "groups.json")
    concepts = [
        {
            "hexcode": each["hexcode"],
            "group": kinds["groups"][str(each["group"])],
            "subgroup": kinds["subgroups"][str(each["subgroup"])],
            "names": {},
            "keywords": {},
        }
        for each in read_json(folder / "en" / "data.json")
        if each.get("group") not in _DROPPED and _key(each["hexcode"]) in drawn
    ]
    for locale in locales:
        by_hexcode = {each["hexcode"]: each for each in read_json(folder / locale / "compact.json")}
        for concept in concepts:
            words = by_hexcode[concept["hexcode"]]
            concept["names"][locale] = words["label"]
            concept["keywords"][locale] = words.get("tags", [])
    return concepts


def draw(hexcodes: Sequence[str], size: int) -> UInt8[np.ndarray, "vendors concepts 3 {size} {size}"]:
    """Draw the concepts as each vendor does, on white.

    Raises:
        DataError: If resvg-py is missing.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise DataError(
            "drawing the emoji needs resvg-py: run `pip install resvg-py`, or copy a cache in which they are drawn "
            "and set COURSE_CACHE to it"
        ) from None
    images = np.empty((len(VENDORS), len(hexcodes), 3, size, size), np.uint8)
    with tqdm(total=len(VENDORS) * len(hexcodes), desc=f"drawing emoji at {size}x{size}", mininterval=0.5) as bar:
        for sheet, vendor in zip(images, VENDORS, strict=True):
            icons = _icons(vendor)
            for image, hexcode in zip(sheet, hexcodes, strict=True):
                # Without the system's fonts: no drawing holds text, and looking for them takes longer than drawing.
                png = svg_to_bytes(
                    svg_string=icons[_key(hexcode)],
                    width=size,
                    height=size,
                    background="#ffffff",
                    skip_system_fonts=True,
                )
                image[:] = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB")).transpose(2, 0, 1)
                bar.update()
    return images


def _icons(vendor: str) -> dict[str, str]:
    """Return the SVG of every emoji of a vendor."""
    folder = fetch(f"emoji-{vendor}")
    icons = read_json(folder / "icons.json")
    return {_key(code): _svg(icons, icon) for code, icon in read_json(folder / "chars.json").items()}


def _svg(icons: dict[str, Any], name: str) -> str:
    """Return one drawing, centred in a square if it is not square itself (one of Twemoji's is not)."""
    icon = icons["icons"][name]
    width, height = icon.get("width", icons["width"]), icon.get("height", icons["height"])
    side = max(width, height)
    box = f"{(width - side) / 2} {(height - side) / 2} {side} {side}"
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {space} viewBox="{box}">{icon["body"]}</svg>'


def _key(hexcode: str) -> str:
    """Return code points in one form for all packages: some omit variation selectors and leading zeros."""
    return "-".join(code for code in hexcode.lower().split("-") if code not in ("fe0e", "fe0f")).lstrip("0")

"""Reading and drawing of the emoji packages, needed once, on the machine that prepares the data; see `emoji`."""

from __future__ import annotations

import io
import re
import unicodedata
from collections import Counter
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

# Icons that show something else than the emoji of that name, found by looking at all of them: a window on a screen, a
# piano's keyboard, a cat's face, a face with sunglasses, a crane, a closed umbrella. FxEmoji's fog is white, and its
# tram car black, since the style sheet that it needs is not there.
_UNFIT = {
    "emojione-v1": {"keyboard", "window"},
    "fxemoji": {
        *("cat", "dog", "mouse", "pig", "tiger"),
        *("construction", "fog", "keyboard", "sunglasses", "tramcar", "umbrella", "window"),
    },
}


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


def draw(
    hexcodes: Sequence[str], size: int, vendors: Sequence[str] = VENDORS
) -> UInt8[np.ndarray, "vendors concepts 3 {size} {size}"]:
    """Draw the concepts as each vendor does, on white; what a vendor of MORE_VENDORS lacks, as OpenMoji does.

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
    images = np.empty((len(vendors), len(hexcodes), 3, size, size), np.uint8)
    with tqdm(total=len(vendors) * len(hexcodes), desc=f"drawing emoji at {size}x{size}", mininterval=0.5) as bar:
        for sheet, vendor in zip(images, vendors, strict=True):
            icons = _icons(vendor) if vendor in VENDORS else _icons("openmoji") | named_icons(vendor)
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


def named_icons(vendor: str) -> dict[str, str]:
    """Return the SVG of every emoji of a vendor of MORE_VENDORS, whose packages hold names and no code points.

    An icon's name is that of CLDR, "hugging-face", sometimes an older one, or that of the character in Unicode,
    "europeanpostoffice", which has never changed. An icon that could be two emoji is the one whose name is CLDR's now.
    """
    icons = read_json(fetch(f"emoji-{vendor}") / "icons.json")
    known = {_letters(name): name for name in icons["icons"] if name not in _UNFIT.get(vendor, ())}
    emoji = read_json(fetch("emoji-words") / "en" / "data.json")
    labels = Counter(_letters(each["label"]) for each in emoji)
    found = {}
    for each in emoji:
        key, label = _key(each["hexcode"]), _letters(each["label"])
        character = _letters(unicodedata.name(chr(int(key, 16)), "")) if "-" not in key else ""
        if label in known and labels[label] == 1:  # "keycap: #" and "keycap: *" have the same letters
            found[key] = _svg(icons, known[label])
        elif character in known and character not in labels:
            found[key] = _svg(icons, known[character])
    return found


def _letters(name: str) -> str:
    """Return a name without what packages write differently: capitals, spaces, hyphens, apostrophes."""
    return re.sub("[^a-z0-9]", "", name.lower())


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

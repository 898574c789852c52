"""`course train vision-text` in seconds, on invented emoji of 8 x 8 pixels; as a program, without network.

Run: python tests/tiny_emoji.py train vision-text --out DIR, with BLOCKED and SLOW in the environment where wanted.
"""

import os
import random
import socket
import sys
import time
from dataclasses import replace

import numpy as np
from tiny_recipes import save_seldom

from course_lib.data.corpora.emoji_split import MORE_VENDORS, VENDORS

SIZE, N, STEPS, SAVE_EVERY = 8, 120, 12, 5
GROUPS = ("animals-nature", "food-drink", "objects", "symbols")


def words(locales):
    """Concepts with invented names: one word in English, in another language that word and the language's code."""
    draw = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    names = ["".join(draw.sample(syllables, 3)) for _ in range(N)]
    keywords = [draw.sample(syllables, 3) for _ in range(N)]
    return [
        {
            "hexcode": f"{i:X}",
            "group": GROUPS[i % 4],
            "subgroup": "other",
            "names": {code: name if code == "en" else f"{name} {code}" for code in locales},
            "keywords": dict.fromkeys(locales, keywords[i]),
        }
        for i, name in enumerate(names)
    ]


def draw(hexcodes, size, vendors=VENDORS):
    """Pictures of four fields of colour for each concept, which differ a little from vendor to vendor.

    Returns:
        UInt8 "vendors concepts 3 size size".
    """
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 256, (1, len(hexcodes), 3, 2, 2)) + rng.integers(-25, 26, (8, 1, 3, 2, 2))
    fields = fields[[(VENDORS + MORE_VENDORS).index(vendor) for vendor in vendors]]
    return np.kron(fields, np.ones((size // 2, size // 2))).clip(0, 255).astype(np.uint8)


def prepare(patch=setattr):
    """Fill the cache with what a machine has on which the packages were fetched and the emoji drawn."""
    from course_lib.data.corpora import emoji, emoji_sources

    patch(emoji_sources, "read_words", words)
    patch(emoji_sources, "draw", draw)
    emoji._words.cache_clear()
    emoji.concepts.cache_clear()
    emoji.load_emoji(SIZE, more=True)


def shrink(patch=setattr):
    """Make the presets small; `patch` is setattr, or that of pytest's monkeypatch."""
    from course_lib.recipes import vision_text

    tiny = {}
    for preset, plan in vision_text.PRESETS.items():
        fewer = {stage: replace(config, steps=STEPS, warmup_steps=3) for stage, config in plan.training.items()}
        decoder = plan.decoder | {"d_model": 16, "n_heads": 2, "d_ff": 16}
        eyes = replace(plan.image_encoder, image_size=SIZE, width=8, d_model=16)
        tiny[preset] = replace(
            plan, image_encoder=eyes, decoder=decoder, batch=dict.fromkeys(plan.batch, 16), training=fewer
        )
    patch(vision_text, "PRESETS", tiny)
    save_seldom(SAVE_EVERY, patch)


def slow_down(seconds):
    """Pause at every step, so that a kill can come in the middle."""
    from course_lib.train import run_folder

    write = run_folder.Metrics.write

    def tardy(self, *arguments, **numbers):
        time.sleep(seconds)
        write(self, *arguments, **numbers)

    run_folder.Metrics.write = tardy


def no_network(*arguments):
    """Stands in for whatever would connect."""
    raise OSError("there is no network")


if __name__ == "__main__":
    for name in filter(None, os.environ.get("BLOCKED", "").split(",")):
        sys.modules[name] = None  # importing it raises ImportError
    socket.socket.connect = no_network
    from course_lib.cli import main
    from course_lib.data.packages import fetching

    fetching.download = no_network
    shrink()
    slow_down(float(os.environ.get("SLOW", 0)))
    main()

"""Emoji: concepts, names in many languages, pictures by four artists or eight, and what needs none of the packages."""

import collections
import itertools
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch

from course_lib.data.corpora import emoji, emoji_sources
from course_lib.data.corpora.emoji_split import MORE_VENDORS, VENDORS
from course_lib.data.packages import registry
from course_lib.errors import DataError


@pytest.fixture(scope="module")
def everything():
    return emoji.load_emoji()


@pytest.fixture(scope="module")
def eight():
    return emoji.load_emoji(more=True)


@pytest.fixture(scope="module")
def joined(eight):
    """For each of MORE_VENDORS, the concepts that are its own."""
    keys = [emoji_sources._key(concept.hexcode) for concept in eight.concepts]
    icons = {vendor: emoji_sources.named_icons(vendor) for vendor in MORE_VENDORS}
    return {vendor: torch.tensor([key in icons[vendor] for key in keys]) for vendor in MORE_VENDORS}


@pytest.fixture(scope="module")
def index(everything):
    return {concept.name: i for i, concept in enumerate(everything.concepts)}


def test_counts(everything):
    assert everything.images.shape == (4, 1586, 3, 32, 32)
    assert len({concept.hexcode for concept in everything.concepts}) == 1586
    assert len({concept.name for concept in everything.concepts}) == 1586
    assert len({concept.group for concept in everything.concepts}) == 8
    for concept in everything.concepts:
        codes = {int(code, 16) for code in concept.hexcode.split("-")}
        assert not codes & set(range(0x1F3FB, 0x1F400)), "a skin tone"
        assert not codes & set(range(0x1F1E6, 0x1F200)), "a flag"
        assert concept.keywords
        assert all(concept.keywords)


def test_known_emoji(everything, index):
    dog = everything.concepts[index["dog face"]]
    assert (dog.hexcode, dog.group, dog.subgroup) == ("1F436", "animals-nature", "animal-mammal")
    assert {"animal", "pet"} <= set(dog.keywords)
    assert chr(int(everything.concepts[index["pizza"]].hexcode, 16)) == "🍕"
    place = index["dog face"]
    names = {locale: emoji.concepts(locale)[place].name for locale in ("en", "de", "fr", "es", "ja", "zh")}
    assert names == {
        "en": "dog face",
        "de": "Hundegesicht",
        "fr": "tête de chien",
        "es": "cara de perro",
        "ja": "イヌの顔",
        "zh": "狗脸",
    }


def test_languages_are_aligned(everything):
    assert len(emoji.LOCALES) == 28
    shared = [(c.hexcode, c.group, c.subgroup, c.family) for c in everything.concepts]
    for locale in emoji.LOCALES:
        concepts = emoji.concepts(locale)
        assert [(c.hexcode, c.group, c.subgroup, c.family) for c in concepts] == shared
        assert all(concept.name.strip() for concept in concepts)
    everywhere = [{emoji.concepts(locale)[i].name for locale in emoji.LOCALES} for i in range(len(shared))]
    assert sum(len(names) < 10 for names in everywhere) < 10  # a shift or a copy of English would show here
    with pytest.raises(ValueError, match=r"names in bn, da, .*, not in 'xx'"):
        emoji.concepts("xx")


def test_every_picture_shows_something_of_its_own(everything, eight):
    ink = 255 - eight.images.float()
    assert ink.flatten(2).mean(2).min() > 1  # of 255: the faintest is no blank page
    assert ink.flatten(2).mean(2).max() < 250
    for a, b in itertools.combinations(range(4), 2):
        change = (everything.images[a].float() - everything.images[b].float()).abs().flatten(1).mean(1)
        assert (change > 5).float().mean() > 0.95, (VENDORS[a], VENDORS[b])
        assert change.min() > 0.5


def test_pictures_are_of_their_concepts(eight, index):
    """Colours tell the channels and concepts apart, and arrows up from down, whoever draws."""
    middle = eight.images[:, :, :, 14:18, 14:18].float().mean((3, 4))
    for channel, colour in enumerate(("red", "green", "blue")):
        for shape in ("heart", "circle", "square"):
            image = middle[:, index[f"{colour} {shape}"]]
            others = image[:, [other for other in range(3) if other != channel]]
            assert (image[:, channel] > others.amax(1) + 20).all(), (colour, shape)
    for one, other, axis in [("up arrow", "down arrow", 2), ("left arrow", "right arrow", 3)]:
        # The middle only: Noto's tile has its shadow below, whatever the arrow on it.
        one, other = (eight.images[:, index[name], :, 8:24, 8:24].float() for name in (one, other))
        mirrored = (one.flip(axis) - other).abs().mean((1, 2, 3))
        assert (mirrored < 0.5 * (one - other).abs().mean((1, 2, 3))).all()


def test_more_artists_change_nothing_that_was_there(everything, eight):
    assert eight.concepts == everything.concepts
    assert eight.images.shape == (8, 1586, 3, 32, 32)
    assert torch.equal(eight.images[:4], everything.images)
    one, two = (emoji.emoji_files(32, more) for more in (False, True))
    assert two[:2] == one
    assert len({file.name for file in two}) == 3


def test_how_many_concepts_the_more_artists_draw(eight, joined):
    learned = eight.split("test").train.concepts
    counts = {vendor: (int(own.sum()), int(own[learned].sum())) for vendor, own in joined.items()}
    assert counts == {
        "emojione": (1064, 798),
        "noto-v1": (1175, 884),
        "emojione-v1": (905, 680),
        "fxemoji": (591, 430),
    }
    for images, own in zip(eight.images[4:], joined.values(), strict=True):
        as_openmoji = (images == eight.images[0]).flatten(1).all(1)
        assert torch.equal(as_openmoji, ~own)


def test_names_lead_to_the_right_icons():
    """By the name of today or that of the character, not by one that two emoji share or that means another thing."""
    icons = {vendor: emoji_sources.named_icons(vendor) for vendor in MORE_VENDORS}
    bodies = {
        vendor: emoji_sources.read_json(emoji_sources.fetch(f"emoji-{vendor}") / "icons.json")["icons"]
        for vendor in MORE_VENDORS
    }
    for vendor, key, name in (
        ("emojione", "1f355", "pizza"),
        ("emojione", "1f6b9", "mens-room"),
        ("emojione", "1f604", "grinning-face-with-smiling-eyes"),  # the character's name is that of the next
        ("emojione", "1f601", "beaming-face-with-smiling-eyes"),
        ("emojione", "1f43b", "bear-face"),
        ("noto-v1", "1f3af", "direct-hit"),
        ("emojione-v1", "2716", "heavy-multiplication-x"),
        ("fxemoji", "1f3f0", "europeancastle"),
        ("fxemoji", "1f576", "darksunglasses"),
    ):
        assert bodies[vendor][name]["body"] in icons[vendor][key], (vendor, name)
    assert not {"23-20e3", "2a-20e3"} & set.union(*map(set, icons.values()))  # keycaps
    for vendor, keys in {"emojione-v1": ("2328", "1fa9f"), "fxemoji": ("1f408", "2328", "1f32b", "1f68b")}.items():
        assert not set(keys) & set(icons[vendor])


def test_the_more_artists_draw_as_none_of_the_held_out_do(eight, joined):
    for vendor, images in zip(MORE_VENDORS, eight.images[4:], strict=True):
        change = (images.float() - eight.images[:4].float()).abs().flatten(2).mean(2)[:, joined[vendor]]
        assert ((change > 5).float().mean(1) > 0.95).all(), vendor
        assert change[VENDORS.index("fluent")].min() > 3, vendor
        if vendor != "noto-v1":  # three of its drawings are Noto's, hence not in the stage "validation"
            assert change[VENDORS.index("noto")].min() > 3, vendor


def test_what_is_not_square_stays_in_proportion(everything, index):
    """Twemoji's watermelon is 36 wide and 25.22 high: above and below it the page is white."""
    inked = (everything.images[VENDORS.index("twemoji"), index["watermelon"]] < 250).any(0)
    rows, columns = inked.any(1).nonzero()[:, 0], inked.any(0).nonzero()[:, 0]
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    assert width >= 31
    assert abs(height - 32 * 25.22 / 36) <= 2
    assert abs((rows[0] + rows[-1]) / 2 - 15.5) <= 1


def test_the_prepared_files_are_what_the_code_makes(everything, eight):
    """Whoever changes `emoji_sources` must also raise `_RECIPE`; this fails where a file of the old recipe lies."""
    assert emoji_sources.read_words(emoji.LOCALES) == emoji._words()
    some = [0, 321, 1000, 1585]
    drawn = emoji_sources.draw([everything.concepts[i].hexcode for i in some], 32)
    assert torch.equal(torch.from_numpy(drawn), everything.images[:, some])
    drawn = emoji_sources.draw([everything.concepts[i].hexcode for i in some], 32, MORE_VENDORS)
    assert torch.equal(torch.from_numpy(drawn), eight.images[4:, some])


def test_sizes():
    for size in (7, 513):
        with pytest.raises(ValueError, match=f"pictures of {size} x {size} cannot be drawn"):
            emoji.load_emoji(size)


@pytest.fixture
def copied(eight, tmp_path):
    """A copy of the prepared files, nothing else."""
    (tmp_path / "copied").mkdir()
    for file in emoji.emoji_files(32, more=True):
        shutil.copy(file, tmp_path / "copied")
    return tmp_path / "copied"


def test_a_machine_with_only_the_prepared_files(everything, copied):
    """No resvg, no package client, no network: what is prepared loads, and what is not is said."""
    code = """
import os, sys
sys.modules["resvg_py"] = None
from course_lib.data.corpora import emoji
from course_lib.data.packages import client
def download(entry, into):
    raise client.DataError(f"{entry.name} could not be fetched, because npm reached no network")
sys.modules["course_lib.data.packages.fetching"].download = download
def attempt(size):
    try:
        return emoji.load_emoji(size)
    except client.DataError as error:
        print(error)
e = attempt(32)
print(e.images.long().sum().item(), len(e.concepts), len(e.split("test").train), emoji.concepts("de")[0].name)
print(len(emoji.load_emoji(32, more=True).split("test").train))
print({"course_lib.data.corpora.emoji_sources", "torchvision", "PIL"} & {*sys.modules})
attempt(16)
emoji._words.cache_clear()
emoji.concepts.cache_clear()
os.environ["COURSE_CACHE"] += "/empty"
attempt(32)
"""
    environment = os.environ | {"COURSE_CACHE": str(copied), "PIP_NO_INDEX": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded, more, imported, undrawn, empty = done.stdout.splitlines()
    total = everything.images.long().sum().item()
    assert loaded == f"{total} 1586 {len(everything.split('test').train)} {emoji.concepts('de')[0].name}"
    assert more == str(7 * 1192)
    assert imported == "set()"
    assert undrawn.startswith("drawing the emoji needs resvg-py: run `pip install resvg-py`, or copy a cache")
    assert empty == "emoji-words could not be fetched, because npm reached no network"
    assert list(copied.glob("emoji-pictures-16*")) == []


def test_damaged_pictures_are_drawn_again(everything, copied, monkeypatch, capsys):
    (file,) = copied.glob("emoji-pictures-32-*.npz")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    monkeypatch.setenv("COURSE_CACHE", str(copied))
    drawn = []

    def draw(hexcodes, size, vendors):
        drawn.append((hexcodes, size, vendors))
        return everything.images.numpy()

    monkeypatch.setattr(emoji_sources, "draw", draw)
    for _ in range(2):
        assert torch.equal(emoji.load_emoji().images, everything.images)
    assert drawn == [([concept.hexcode for concept in everything.concepts], 32, VENDORS)]
    assert capsys.readouterr().out == f"The prepared file {file} is damaged; making it again.\n"


@pytest.mark.parametrize("name_only", [0.7, 0.0])
def test_random_captions(everything, index, name_only):
    dog = everything.concepts[index["dog face"]]

    def draw(n):
        generator = torch.Generator().manual_seed(0)
        return [emoji.random_caption(dog, generator, name_only) for _ in range(n)]

    captions = draw(1000)
    assert captions[:50] == draw(50)
    kinds, lengths = collections.Counter(), set()
    for caption in captions:
        words = caption.split(", ")
        named = words[0] == dog.name
        rest = words[named:]
        kinds["name" if not rest else "both" if named else "keywords"] += 1
        lengths.add(len(rest))
        assert len(set(rest)) == len(rest)
        assert set(rest) <= set(dog.keywords)
    assert lengths == {1, 2, 3, 4, 5} | ({0} if name_only else set())
    for kind, share in {"name": name_only, "both": (1 - name_only) / 2, "keywords": (1 - name_only) / 2}.items():
        deviation = (1000 * share * (1 - share)) ** 0.5
        assert abs(kinds[kind] - 1000 * share) <= 5 * deviation, kinds  # 5 standard deviations of a count
    assert {word for caption in captions for word in caption.split(", ")} == {dog.name, *dog.keywords}


def test_a_caption_without_keywords():
    bare = emoji.Concept("0", "a name", (), "", "", "")
    generator = torch.Generator().manual_seed(0)
    assert {emoji.random_caption(bare, generator, name_only=0.0) for _ in range(20)} == {"a name"}


def test_the_artists_are_credited():
    licences = {vendor: registry.entry(f"emoji-{vendor}").licence for vendor in VENDORS + MORE_VENDORS}
    assert licences == {
        "openmoji": "CC BY-SA 4.0",
        "twemoji": "CC BY 4.0",
        "noto": "Apache-2.0",
        "fluent": "MIT",
        "emojione": "CC BY 4.0",
        "noto-v1": "Apache-2.0",
        "emojione-v1": "CC BY-SA 4.0",
        "fxemoji": "Apache-2.0",
    }
    for vendor, artist in {
        "openmoji": "OpenMoji",
        "twemoji": "Twitter",
        "noto": "Google",
        "fluent": "Microsoft",
        "emojione": "Emoji One",
        "noto-v1": "Google",
        "emojione-v1": "Emoji One",
        "fxemoji": "Mozilla",
    }.items():
        assert artist in registry.entry(f"emoji-{vendor}").credit
        assert registry.entry(f"emoji-{vendor}").on_demand
        info = (emoji_sources.fetch(f"emoji-{vendor}") / "info.json").read_text(encoding="utf-8")
        spdx = re.search(r'"spdx": "(.*?)"', info)[1]
        assert spdx.replace("CC-BY", "CC BY").replace("-4.0", " 4.0") == licences[vendor]


def test_no_resvg_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(DataError, match="needs resvg-py: run `pip install resvg-py`"):
        emoji_sources.draw(["1F436"], 32)

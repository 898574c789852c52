"""Nothing that is reported on is ever learned from: families, sides, stages."""

import collections
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data.corpora import emoji
from course_lib.data.corpora.emoji_split import MORE_VENDORS, SIDES, TEST_VENDOR, VENDORS, family, side, split_emoji

CONCEPTS = emoji.concepts()
KINDS = ("train", "new_vendor", "new_concepts", "both_new")


def pairs(grid):
    return set(zip(*(index.tolist() for index in grid.indices()), strict=True))


def test_variants_by_code_points_share_a_family():
    """Code points say what is a variant without regard to names: a person of any sex, a sex sign, hair, direction."""
    variants = collections.defaultdict(set)
    for concept in CONCEPTS:
        base = re.sub("^1F46[89]|^1F9D1", "person", concept.hexcode)
        base = re.sub("-200D-(264[02]|27A1)(-FE0F)?", "", base)
        base = re.sub("^person-200D-1F9B[0-3]$", "person", base)
        variants[base.removesuffix("-FE0F")].add(concept.family)
    assert len(variants) < len(CONCEPTS) - 150
    assert {base: families for base, families in variants.items() if len(families) > 1} == {}


@pytest.mark.parametrize(
    "names",
    [
        "red heart|pink heart|light blue heart|black heart|grey heart",
        "red circle|yellow circle|white circle|full moon|new moon",
        "green book|blue book|orange book|closed book|open book",
        "twelve o’clock|twelve-thirty|one o’clock|eleven-thirty",
        "boy|girl|child|man|woman|old man|man: bald|woman: blond hair|person frowning|man pouting",
        "prince|princess|person with crown",
        "merman|mermaid|merperson",
        "Santa Claus|Mrs. Claus|Mx Claus",
        "person running|man running: facing right",
        "breast-feeding|man feeding baby",
        "left arrow|right arrow|up-down arrow",
        "grinning cat|cat face|black cat",
        "thumbs up|thumbs down",
        "keycap: 1|keycap: 2|keycap: #",
        "open mailbox with raised flag|closed mailbox with lowered flag",
        "speaker low volume|speaker high volume",
        "yen banknote|euro banknote",
        "cow|cow face",
        "large blue diamond|small orange diamond",
    ],
)
def test_variants_by_name_share_a_family(names):
    known = {concept.name: concept.family for concept in CONCEPTS}
    assert len({known[name] for name in names.split("|")}) == 1


def test_different_things_are_different_families():
    families = collections.Counter(concept.family for concept in CONCEPTS)
    assert len(families) == 1085
    assert sum(n == 1 for n in families.values()) > 900
    assert max(families.values()) < 50
    known = {concept.name: concept.family for concept in CONCEPTS}
    names = "dog face|tiger|pizza|violin|rocket|man cook|woman farmer|crying face|sleeping face|red apple|house|pencil"
    assert len({known[name] for name in names.split("|")}) == 12


def test_drawings_that_can_hardly_be_told_apart_share_a_family():
    """Two drawings by one vendor that differ in less than a tenth of their ink (root of summed squares)."""
    families = [concept.family for concept in CONCEPTS]
    number = torch.tensor([families.index(each) for each in families])
    for vendor, images in zip(VENDORS, emoji.load_emoji().images, strict=True):
        ink = (1 - images.float() / 255).flatten(1)
        energy = ink.square().sum(1)
        distance = (energy[:, None] + energy - 2 * ink @ ink.T).clamp(min=0).sqrt()
        near = (distance < 0.1 * torch.minimum(energy[:, None], energy).sqrt()) & (number[:, None] != number)
        assert [(CONCEPTS[i].name, CONCEPTS[j].name) for i, j in near.nonzero().tolist()] == [], vendor


def test_the_sides_never_change():
    """Numbers that were measured before hold only as long as this does."""
    counts = collections.Counter(side(concept.family) for concept in CONCEPTS)
    assert counts == {"train": 1192, "validation": 191, "test": 203}
    known = {concept.name: side(concept.family) for concept in CONCEPTS}
    assert [known[name] for name in ("dog face", "Leo", "smiling face")] == ["train", "validation", "test"]


def test_sides_have_their_shares():
    counts = collections.Counter(side(f"family {i}") for i in range(10_000))
    for name, share in zip(SIDES, (0.7, 0.15, 0.15), strict=True):
        assert abs(counts[name] - 10_000 * share) < 5 * (10_000 * share * (1 - share)) ** 0.5  # 5 standard errors


@settings(deadline=None)
@given(
    families=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1, max_size=60),
    seed=st.integers(0, 2**32),
)
def test_nothing_leaks(families, seed):
    torch.manual_seed(seed)
    choosing = split_emoji(families, "validation")
    torch.manual_seed(seed + 1)
    reporting = split_emoji(families, "test")
    for part in (choosing, reporting):
        grids = [pairs(getattr(part, kind)) for kind in KINDS]
        assert len(set().union(*grids)) == sum(map(len, grids)) == sum(len(getattr(part, kind)) for kind in KINDS)
        learned = {families[i] for i in part.train.concepts}
        assert not learned & {families[i] for i in part.new_concepts.concepts}
        assert not set(part.train.vendors.tolist()) & set(part.new_vendor.vendors.tolist())
        assert part.new_vendor.concepts.equal(part.train.concepts)
        assert part.new_concepts.vendors.equal(part.train.vendors)
        assert part.both_new.vendors.equal(part.new_vendor.vendors)
        assert part.both_new.concepts.equal(part.new_concepts.concepts)
    # Whoever chooses sees neither the vendor nor the concepts of the report; what is learned is learned in both.
    seen = {kind: getattr(choosing, kind) for kind in KINDS}
    assert all(VENDORS.index(TEST_VENDOR) not in grid.vendors for grid in seen.values())
    tested = {families[i] for i in reporting.new_concepts.concepts}
    assert not tested & {families[i] for grid in seen.values() for i in grid.concepts}
    assert reporting.new_vendor.vendors.tolist() == [VENDORS.index(TEST_VENDOR)]
    assert pairs(choosing.train) <= pairs(reporting.train)
    assert len(reporting.train.vendors) == 3


@pytest.mark.parametrize("stage", ["validation", "test"])
def test_more_artists_are_trained_on_and_nothing_else(stage):
    families = [concept.family for concept in CONCEPTS]
    four, eight = split_emoji(families, stage), split_emoji(families, stage, more=True)
    for kind in ("new_vendor", "new_concepts", "both_new"):
        assert pairs(getattr(eight, kind)) == pairs(getattr(four, kind))
    assert eight.train.concepts.equal(four.train.concepts)
    added = [(VENDORS + MORE_VENDORS)[i] for i in eight.train.vendors[len(four.train.vendors) :]]
    assert eight.train.vendors[: len(four.train.vendors)].equal(four.train.vendors)
    # Noto is the artist of the stage "validation", and some of Noto v1 is drawn alike.
    assert added == [vendor for vendor in MORE_VENDORS if stage == "test" or vendor != "noto-v1"]
    assert not any("fluent" in vendor for vendor in added)


def test_pairs_index_the_pictures():
    everything = emoji.load_emoji()
    grid = everything.split("test").both_new
    images = everything.images[grid.indices()]
    assert images.shape == (203, 3, 32, 32)
    assert torch.equal(images, everything.images[VENDORS.index("fluent"), grid.concepts])
    train = everything.split("validation").train
    vendors, concepts = train.indices()
    assert len(train) == len(vendors) == len(concepts) == 2 * 1192
    assert vendors.unique().tolist() == [0, 1]


def test_sentences():
    with pytest.raises(ValueError, match=r'stage is "validation" .* or "test" .*, not \'final\''):
        split_emoji(["a"], "final")


def test_family_of_names_unlike_any():
    assert family("person", "person") == family("man: bald", "person") == "person"
    assert family("", "x") == "person"
    assert family("5", "keycap") == "keycap"

"""Emoji as pairs of picture and caption: what is learned from, and how well a model finds what belongs together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from tokenizers import Tokenizer
from torch import Tensor

from course_lib.data.corpora.emoji import Concept, Emoji, concepts, random_caption
from course_lib.data.corpora.emoji_split import Grid, Split
from course_lib.data.loading.augment import augment
from course_lib.data.worlds.words import word_tokenizer
from course_lib.measure import device
from course_lib.models import CLIP, BagCLIP

VARIANTS = 32  # random captions of each concept and language, drawn once
# What is said of a picture to ask for its group, by Emojibase's groups.
PROMPTS = {
    "smileys-emotion": "smiling face emotion",
    "people-body": "person",
    "animals-nature": "animal plant",
    "food-drink": "food drink",
    "travel-places": "place building vehicle travel",
    "activities": "sport game",
    "objects": "object tool clothing",
    "symbols": "symbol sign button",
}


@dataclass(frozen=True)
class Pairs:
    """Pictures, on the device that computes, and captions as word ids, where only words of what is learned are known.

    owner: whose captions each concept has: its own, except in `shuffled`.
    """

    emoji: Emoji
    split: Split
    tokenizer: Tokenizer
    pictures: UInt8[Tensor, "vendors concepts 3 size size"]
    captions: Int[Tensor, "concepts variants tokens"]
    owner: Int[Tensor, " concepts"]

    def batch(
        self, size: int, strength: float, generator: torch.Generator
    ) -> tuple[Float[Tensor, "pairs 3 size size"], Int[Tensor, "pairs tokens"]]:
        """Augmented pictures and a caption of each, of different concepts: the same twice would count as wrong."""
        train = self.split.train
        chosen = train.concepts[torch.randperm(len(train.concepts), generator=generator)[:size]]
        vendors = train.vendors[torch.randint(len(train.vendors), (len(chosen),), generator=generator)]
        variants = torch.randint(self.captions.shape[1], (len(chosen),), generator=generator)
        where = self.pictures.device
        pictures = augment(self.pictures[vendors.to(where), chosen.to(where)], generator, strength)
        return pictures, self.captions[self.owner[chosen], variants].to(where)

    def shuffled(self, seed: int) -> Pairs:
        """A control: every concept that is learned has the captions of another, the same at every step."""
        learned = self.split.train.concepts
        # One step along a random circle: none keeps its own.
        circle = learned[torch.randperm(len(learned), generator=torch.Generator().manual_seed(seed))]
        owner = self.owner.clone()
        owner[circle] = circle.roll(1)
        return replace(self, owner=owner)

    def ids(self, texts: Sequence[str]) -> Int[Tensor, "texts tokens"]:
        """The known words of some texts as ids."""
        known = [" ".join(w for w in _words(text) if self.tokenizer.token_to_id(w) is not None) for text in texts]
        return torch.tensor([line.ids or [0] for line in self.tokenizer.encode_batch(known)]).to(self.pictures.device)

    def texts(self, which: Int[Tensor, " concepts"], keywords: bool = False) -> list[str]:
        """The English names of some concepts, with all their keywords if wanted."""
        some = [self.emoji.concepts[i] for i in self.owner[which].tolist()]
        return [" ".join([c.name, *c.keywords]) if keywords else c.name for c in some]


def pairs(
    emoji: Emoji, stage: str, languages: Sequence[str] = ("en",), seed: int = 0, where: torch.device | None = None
) -> Pairs:
    """Emoji and captions in some languages whose words are set apart by spaces; stage: see emoji_split.split_emoji."""
    split = emoji.split(stage)
    named = [concepts(language) for language in languages]
    learned = split.train.concepts.tolist()
    known = sorted({w for some in named for i in learned for w in _words(" ".join([some[i].name, *some[i].keywords]))})
    generator = torch.Generator().manual_seed(seed)
    none = Concept("", "", (), "", "", "")
    keep = set(learned)
    lines = [
        random_caption(some[i] if i in keep else none, generator)
        for i in range(len(emoji.concepts))
        for some in named
        for _ in range(VARIANTS)
    ]
    tokenizer = word_tokenizer(known)
    ids = torch.tensor([line.ids for line in tokenizer.encode_batch([" ".join(_words(line)) for line in lines])])
    captions = ids.view(len(emoji.concepts), len(named) * VARIANTS, -1)
    return Pairs(emoji, split, tokenizer, emoji.pictures.to(where or device()), captions, torch.arange(len(captions)))


def recall(similarity: Float[Tensor, "queries gallery"], target: Int[Tensor, " queries"], k: int) -> float:
    """The share of queries whose target is among the k most similar; ties rank before it, and NaN is a miss."""
    own = similarity.gather(1, target[:, None])
    rank = similarity.shape[1] - (similarity < own).sum(dim=1)
    return ((rank <= k) & ~own[:, 0].isnan()).float().mean().item()


@torch.no_grad()
def encode(model: BagCLIP | CLIP, pictures: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images d"]:
    """The unit vectors of pictures, as they are."""
    return torch.cat([model.image_features(some.float() / 255) for some in pictures.split(512)])


@torch.no_grad()
def retrieval(model: BagCLIP | CLIP, data: Pairs) -> dict[str, float]:
    """How a model finds the names of pictures that it has not seen, of all names of the same part of the split.

    new-vendor: learned concepts in a new style; new-concepts: new ones in learned styles; both-new: neither is learned.
    New concepts are asked for by name and keywords. image-to-image: the nearest learned picture shows the same concept.
    group: the groups of both-new by PROMPTS.
    """
    model.eval()
    split, numbers = data.split, {}
    parts = {"new-vendor": split.new_vendor, "new-concepts": split.new_concepts, "both-new": split.both_new}
    for name, grid in parts.items():
        texts = model.text_features(data.ids(data.texts(grid.concepts, keywords=name != "new-vendor")))
        images = encode(model, data.pictures[grid.indices()])
        target = torch.arange(len(grid.concepts), device=images.device).repeat(len(grid.vendors))
        for k in (1, 5):
            numbers[f"{name}-r{k}"] = recall(images @ texts.T, target, k)
        if name == "new-vendor":
            similar = nearest(images, encode(model, data.pictures[split.train.indices()]), split.train)
            numbers["image-to-image-r1"] = recall(similar, target, 1)
        if name == "both-new":
            prompts = model.text_features(data.ids(list(PROMPTS.values())))
            guess = (images @ prompts.T).argmax(dim=1)
            numbers["group"] = (guess == groups(data, grid.concepts)).float().mean().item()
    return numbers


def nearest(
    queries: Float[Tensor, "queries d"], learned: Float[Tensor, "pictures d"], grid: Grid
) -> Float[Tensor, "queries concepts"]:
    """How similar each query is to the most similar of the vendors' pictures of each concept of the grid."""
    return (queries @ learned.T).unflatten(1, (len(grid.vendors), len(grid.concepts))).amax(dim=1)


def groups(data: Pairs, which: Int[Tensor, " concepts"]) -> Int[Tensor, " concepts"]:
    """The groups of some concepts, as indices into PROMPTS."""
    order = list(PROMPTS)
    return torch.tensor(
        [order.index(data.emoji.concepts[i].group) for i in which.tolist()], device=data.pictures.device
    )


def by_pixels(data: Pairs) -> dict[str, float]:
    """The control that learns nothing: what `retrieval` measures, with the nearest learned picture's name in its place.

    New concepts are asked for by the words of the five nearest learned pictures, rare words counting more (tf-idf).
    """
    split = data.split
    learned, new, both = (
        _looks(data.pictures[grid.indices()]) for grid in (split.train, split.new_vendor, split.both_new)
    )
    mean = learned.mean(dim=0)
    learned, new, both = (F.normalize(some - mean, dim=1) for some in (learned, new, both))
    similar = nearest(new, learned, split.train)
    numbers = {
        f"new-vendor-r{k}": recall(similar, torch.arange(len(similar), device=similar.device), k) for k in (1, 5)
    }
    close = nearest(both, learned, split.train).topk(5)
    bags = _bags(data.texts(torch.cat((split.train.concepts, split.both_new.concepts)), keywords=True)).to(both.device)
    ours, theirs = bags[: len(split.train.concepts)], bags[len(split.train.concepts) :]
    guess = (close.values[..., None] * ours[close.indices]).sum(dim=1) @ theirs.T
    for k in (1, 5):
        numbers[f"both-new-r{k}"] = recall(guess, torch.arange(len(guess), device=guess.device), k)
    kinds, wanted = groups(data, split.train.concepts), groups(data, split.both_new.concepts)
    numbers["group"] = (kinds[close.indices[:, 0]] == wanted).float().mean().item()
    numbers["group-majority"] = (torch.bincount(wanted).amax() / len(wanted)).item()
    return numbers


def _looks(pictures: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images d"]:
    """16 x 16 colours and 8 x 8 strengths of edges, which count twice: what served best of five kinds in a trial."""
    x = pictures.float() / 255
    edges = torch.cat(
        (F.pad(x.diff(dim=3).abs(), (0, 1)), F.pad(x.diff(dim=2).abs(), (0, 0, 0, 1))), dim=1
    )  # one row or column fewer than pixels
    return torch.cat((F.adaptive_avg_pool2d(x, 16).flatten(1), 2 * F.adaptive_avg_pool2d(edges, 8).flatten(1)), dim=1)


def _bags(texts: list[str]) -> Float[Tensor, "texts words"]:
    sets = [set(_words(text)) for text in texts]
    order = {word: i for i, word in enumerate(sorted(set().union(*sets)))}
    bags = torch.zeros(len(sets), len(order))
    for row, some in zip(bags, sets, strict=True):
        row[[order[word] for word in some]] = 1
    return F.normalize(bags * (len(bags) / bags.sum(dim=0)).log(), dim=1)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())

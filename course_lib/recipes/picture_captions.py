"""Emoji as pairs of picture and caption: the training data of a CLIP, and how well a model retrieves captions."""

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
    """Pictures, on the device that computes, and captions as word ids; the vocabulary is that of the training part.

    Attributes:
        emoji: The pictures and concepts.
        split: Which of them are for training.
        tokenizer: One token a word.
        pictures: All of them.
        captions: Random captions of every concept, drawn once; those outside the training part are empty.
        owner: Whose captions each concept has: its own, except in `shuffled`.
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
        """Draw augmented pictures and a caption of each.

        Args:
            size: How many, all of different concepts: the same one twice would count as wrong.
            strength: Of the augmentation.
            generator: Of all random choices.
        """
        train = self.split.train
        chosen = train.concepts[torch.randperm(len(train.concepts), generator=generator)[:size]]
        vendors = train.vendors[torch.randint(len(train.vendors), (len(chosen),), generator=generator)]
        variants = torch.randint(self.captions.shape[1], (len(chosen),), generator=generator)
        where = self.pictures.device
        pictures = augment(self.pictures[vendors.to(where), chosen.to(where)], generator, strength)
        return pictures, self.captions[self.owner[chosen], variants].to(where)

    def shuffled(self, seed: int) -> Pairs:
        """A control: every concept of the training part has the captions of another one, the same at every step."""
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
        """The English names of some concepts, followed by all their keywords if wanted."""
        some = [self.emoji.concepts[i] for i in self.owner[which].tolist()]
        return [" ".join([c.name, *c.keywords]) if keywords else c.name for c in some]


def pairs(
    emoji: Emoji, stage: str, languages: Sequence[str] = ("en",), seed: int = 0, where: torch.device | None = None
) -> Pairs:
    """Pair emoji with captions.

    Args:
        emoji: The pictures.
        stage: "validation" or "test"; see emoji_split.split_emoji.
        languages: Of the captions; their words are set apart by spaces.
        seed: Of the captions.
        where: The device of the pictures; by default that of the chosen preset.
    """
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
    """Recall at k: the share of queries whose target is among the k most similar.

    Args:
        similarity: Of each query to each item of the gallery.
        target: The right item of each query.
        k: How many are looked at. Ties rank before the target, and NaN is a miss.
    """
    own = similarity.gather(1, target[:, None])
    rank = similarity.shape[1] - (similarity < own).sum(dim=1)
    return ((rank <= k) & ~own[:, 0].isnan()).float().mean().item()


def _recalls(name: str, similarity: Tensor, target: Tensor) -> dict[str, float]:
    return {f"{name}-r{k}": recall(similarity, target, k) for k in (1, 5)}


@torch.no_grad()
def encode(model: BagCLIP | CLIP, pictures: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images d"]:
    """The unit vectors of pictures, without augmentation."""
    return torch.cat([model.image_features(some.float() / 255) for some in pictures.split(512)])


@torch.no_grad()
def retrieval(model: BagCLIP | CLIP, data: Pairs) -> dict[str, float]:
    """Recall at 1 and 5 of the names of held-out pictures, among all names of the same part of the split.

    Returns:
        For the parts new-vendor (trained concepts in a new style), new-concepts (new ones in trained styles) and
        both-new, "PART-r1" and "PART-r5"; new concepts are described by name and keywords. "image-to-image-r1": how
        often the nearest training picture shows the same concept. "group": how often PROMPTS find the group in
        both-new.
    """
    model.eval()
    split = data.split
    numbers: dict[str, float] = {}
    parts = {"new-vendor": split.new_vendor, "new-concepts": split.new_concepts, "both-new": split.both_new}
    for name, grid in parts.items():
        texts = model.text_features(data.ids(data.texts(grid.concepts, keywords=name != "new-vendor")))
        images = encode(model, data.pictures[grid.indices()])
        target = torch.arange(len(grid.concepts), device=images.device).repeat(len(grid.vendors))
        numbers |= _recalls(name, images @ texts.T, target)
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
    """The similarity of each query to each concept of the grid: the largest over the vendors' pictures."""
    return (queries @ learned.T).unflatten(1, (len(grid.vendors), len(grid.concepts))).amax(dim=1)


def groups(data: Pairs, which: Int[Tensor, " concepts"]) -> Int[Tensor, " concepts"]:
    """The groups of some concepts, as indices into PROMPTS."""
    order = list(PROMPTS)
    return torch.tensor(
        [order.index(data.emoji.concepts[i].group) for i in which.tolist()], device=data.pictures.device
    )


def pixel_baseline(data: Pairs) -> dict[str, float]:
    """A baseline without training for the numbers of `retrieval`: the name of the nearest training picture.

    New concepts are looked for by the words of the five nearest training pictures, weighted by tf-idf. Two pictures are
    near by the cosine of their colours and edges.
    """
    split = data.split
    learned, new, both = (
        _pixel_features(data.pictures[grid.indices()]) for grid in (split.train, split.new_vendor, split.both_new)
    )
    mean = learned.mean(dim=0)
    learned, new, both = (F.normalize(some - mean, dim=1) for some in (learned, new, both))
    similar = nearest(new, learned, split.train)
    numbers = _recalls("new-vendor", similar, torch.arange(len(similar), device=similar.device))
    close = nearest(both, learned, split.train).topk(5)
    bags = _tf_idf(data.texts(torch.cat((split.train.concepts, split.both_new.concepts)), keywords=True)).to(
        both.device
    )
    ours, theirs = bags[: len(split.train.concepts)], bags[len(split.train.concepts) :]
    guess = (close.values[..., None] * ours[close.indices]).sum(dim=1) @ theirs.T
    numbers |= _recalls("both-new", guess, torch.arange(len(guess), device=guess.device))
    kinds, wanted = groups(data, split.train.concepts), groups(data, split.both_new.concepts)
    numbers["group"] = (kinds[close.indices[:, 0]] == wanted).float().mean().item()
    numbers["group-majority"] = (torch.bincount(wanted).amax() / len(wanted)).item()
    return numbers


def _pixel_features(pictures: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images d"]:
    """16 x 16 colours and 8 x 8 strengths of edges, which count twice: the best of five kinds in a trial."""
    x = pictures.float() / 255
    edges = torch.cat(
        (F.pad(x.diff(dim=3).abs(), (0, 1)), F.pad(x.diff(dim=2).abs(), (0, 0, 0, 1))), dim=1
    )  # one row or column fewer than pixels
    return torch.cat((F.adaptive_avg_pool2d(x, 16).flatten(1), 2 * F.adaptive_avg_pool2d(edges, 8).flatten(1)), dim=1)


def _tf_idf(texts: list[str]) -> Float[Tensor, "texts words"]:
    sets = [set(_words(text)) for text in texts]
    order = {word: i for i, word in enumerate(sorted(set().union(*sets)))}
    bags = torch.zeros(len(sets), len(order))
    for row, some in zip(bags, sets, strict=True):
        row[[order[word] for word in some]] = 1
    return F.normalize(bags * (len(bags) / bags.sum(dim=0)).log(), dim=1)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())

"""Emoji as pairs of image and caption: the training data of a CLIP, and how well a model retrieves captions."""

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
from course_lib.measure import device as device_of_preset
from course_lib.models import CLIP, BagCLIP

VARIANTS = 32  # random captions of each concept and language, drawn once
# The prompt for each of Emojibase's groups, by which a model classifies images.
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
    """Images, on the device that computes, and captions as word ids, with the vocabulary of the training part.

    Attributes:
        emoji: The images and concepts.
        split: Which of them are for training.
        tokenizer: A tokenizer with one token per word.
        images: All images.
        captions: Random captions of every concept, drawn once; those outside the training part are empty.
        owner: The concept whose captions each concept has: its own, except after `shuffled`.
    """

    emoji: Emoji
    split: Split
    tokenizer: Tokenizer
    images: UInt8[Tensor, "vendors concepts 3 size size"]
    captions: Int[Tensor, "concepts variants tokens"]
    owner: Int[Tensor, " concepts"]

    def batch(
        self, size: int, strength: float, generator: torch.Generator
    ) -> tuple[Float[Tensor, "pairs 3 size size"], Int[Tensor, "pairs tokens"]]:
        """Draw augmented images and a caption of each.

        Args:
            size: The number of pairs, all of different concepts: the same one twice would count as wrong.
            strength: The strength of the augmentation.
            generator: Random generator for all choices.
        """
        train = self.split.train
        chosen = train.concepts[torch.randperm(len(train.concepts), generator=generator)[:size]]
        vendors = train.vendors[torch.randint(len(train.vendors), (len(chosen),), generator=generator)]
        variants = torch.randint(self.captions.shape[1], (len(chosen),), generator=generator)
        device = self.images.device
        images = augment(self.images[vendors.to(device), chosen.to(device)], generator, strength)
        return images, self.captions[self.owner[chosen], variants].to(device)

    def shuffled(self, seed: int) -> Pairs:
        """Give every training concept the captions of another one, the same at every step, as a control."""
        learned = self.split.train.concepts
        # One step along a random circle, so that none keeps its own.
        circle = learned[torch.randperm(len(learned), generator=torch.Generator().manual_seed(seed))]
        owner = self.owner.clone()
        owner[circle] = circle.roll(1)
        return replace(self, owner=owner)

    def ids(self, texts: Sequence[str]) -> Int[Tensor, "texts tokens"]:
        """Encode the known words of some texts as ids."""
        known = [" ".join(w for w in _words(text) if self.tokenizer.token_to_id(w) is not None) for text in texts]
        return torch.tensor([line.ids or [0] for line in self.tokenizer.encode_batch(known)]).to(self.images.device)

    def texts(self, which: Int[Tensor, " concepts"], keywords: bool = False) -> list[str]:
        """Return the English names of some concepts, followed by all their keywords if wanted."""
        some = [self.emoji.concepts[i] for i in self.owner[which].tolist()]
        return [" ".join([c.name, *c.keywords]) if keywords else c.name for c in some]


def pairs(
    emoji: Emoji, stage: str, languages: Sequence[str] = ("en",), seed: int = 0, device: torch.device | None = None
) -> Pairs:
    """Pair emoji with captions.

    Args:
        emoji: The images and concepts.
        stage: "validation" or "test"; see `course_lib.data.corpora.emoji_split.split_emoji`.
        languages: The languages of the captions, all of which separate words by spaces.
        seed: The seed of the captions.
        device: The device of the images; None for that of the chosen preset.
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
    return Pairs(
        emoji, split, tokenizer, emoji.images.to(device or device_of_preset()), captions, torch.arange(len(captions))
    )


def recall(similarity: Float[Tensor, "queries gallery"], target: Int[Tensor, " queries"], k: int) -> float:
    """Compute recall at k: the share of queries whose target is among the k most similar items.

    Ties rank before the target, and NaN is a miss.

    Args:
        similarity: The similarity of each query to each item of the gallery.
        target: The index of the right item for each query.
        k: The number of most similar items that count.
    """
    own = similarity.gather(1, target[:, None])
    rank = similarity.shape[1] - (similarity < own).sum(dim=1)
    return ((rank <= k) & ~own[:, 0].isnan()).float().mean().item()


def _recalls(name: str, similarity: Tensor, target: Tensor) -> dict[str, float]:
    return {f"{name}-r{k}": recall(similarity, target, k) for k in (1, 5)}


@torch.no_grad()
def encode(model: BagCLIP | CLIP, images: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images d"]:
    """Encode images as unit vectors, without augmentation."""
    return torch.cat([model.image_features(some.float() / 255) for some in images.split(512)])


@torch.no_grad()
def retrieval(model: BagCLIP | CLIP, data: Pairs) -> dict[str, float]:
    """Compute recall at 1 and 5 of the names of held-out images among all names in the same part of the split.

    Returns:
        "PART-r1" and "PART-r5" for the parts new-vendor (trained concepts in a new style), new-concepts (new concepts
        in trained styles) and both-new; new concepts are described by name and keywords. "image-to-image-r1": how often
        the nearest training image of a new-vendor image shows the same concept. "group": how often PROMPTS find the
        group in both-new.
    """
    model.eval()
    split = data.split
    numbers: dict[str, float] = {}
    parts = {"new-vendor": split.new_vendor, "new-concepts": split.new_concepts, "both-new": split.both_new}
    for name, grid in parts.items():
        texts = model.text_features(data.ids(data.texts(grid.concepts, keywords=name != "new-vendor")))
        images = encode(model, data.images[grid.indices()])
        target = torch.arange(len(grid.concepts), device=images.device).repeat(len(grid.vendors))
        numbers |= _recalls(name, images @ texts.T, target)
        if name == "new-vendor":
            similar = nearest(images, encode(model, data.images[split.train.indices()]), split.train)
            numbers["image-to-image-r1"] = recall(similar, target, 1)
        if name == "both-new":
            prompts = model.text_features(data.ids(list(PROMPTS.values())))
            guess = (images @ prompts.T).argmax(dim=1)
            numbers["group"] = (guess == groups(data, grid.concepts)).float().mean().item()
    return numbers


def nearest(
    queries: Float[Tensor, "queries d"], learned: Float[Tensor, "images d"], grid: Grid
) -> Float[Tensor, "queries concepts"]:
    """Compute the similarity of each query to each concept of the grid: the largest over the vendors' images."""
    return (queries @ learned.T).unflatten(1, (len(grid.vendors), len(grid.concepts))).amax(dim=1)


def groups(data: Pairs, which: Int[Tensor, " concepts"]) -> Int[Tensor, " concepts"]:
    """Return the groups of some concepts as indices into PROMPTS."""
    order = list(PROMPTS)
    return torch.tensor([order.index(data.emoji.concepts[i].group) for i in which.tolist()], device=data.images.device)


def pixel_baseline(data: Pairs) -> dict[str, float]:
    """Compute a baseline without training for the results of `retrieval`: the name of the nearest training image.

    New concepts are retrieved by the words of the five nearest training concepts, weighted by tf-idf. Images are
    compared by the cosine similarity of their colours and edges.
    """
    split = data.split
    learned, new, both = (
        _pixel_features(data.images[grid.indices()]) for grid in (split.train, split.new_vendor, split.both_new)
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


def _pixel_features(images: UInt8[Tensor, "images 3 size size"]) -> Float[Tensor, "images d"]:
    """Compute 16 x 16 colours and 8 x 8 edge strengths with weight 2: the best of five kinds in a trial."""
    x = images.float() / 255
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

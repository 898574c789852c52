"""Questions about 2 x 2 emoji: as the decoder reads them, with words or pictures in the four places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from tokenizers import Tokenizer
from torch import Tensor

from course_lib.constants import IGNORE_INDEX
from course_lib.data.corpora.emoji import Emoji
from course_lib.data.corpora.emoji_split import Split
from course_lib.data.loading.augment import augment
from course_lib.data.worlds.scenes import SceneBatch, Scenes
from course_lib.data.worlds.words import END, word_tokenizer
from course_lib.models import VLM, split_into_tiles
from course_lib.train.losses import Loss, cross_entropy
from course_lib.tune.completions import completion_examples

KINDS = ("where", "count", "exist", "caption")  # relations are left out: a trial found that they are not learned
GROUPS = ("animals-nature", "food-drink", "travel-places", "activities", "objects")
IMAGE, NOTHING = "<image>", "<nothing>"  # stands for a tile; an empty one, where tiles are words
COPIES = 6  # augmented versions of each picture, which frozen eyes look at once

Asked = tuple[Int[Tensor, "scenes cells"], Int[Tensor, "scenes tokens"], Int[Tensor, "scenes tokens"]]


@dataclass(frozen=True)
class Questions:
    """Scenes of the concepts that are learned and have a name of one word, their questions, and the words for both."""

    scenes: Scenes
    concepts: Int[Tensor, " names"]  # of each name, in Emoji
    tokenizer: Tokenizer
    words: Int[Tensor, " names_and_nothing"]  # the token of each name; the last, which EMPTY finds, is NOTHING

    @property
    def image_token(self) -> int:
        """The id of IMAGE."""
        return self.tokenizer.get_vocab()[IMAGE]

    def batch(self, size: int, generator: torch.Generator, kinds: tuple[str, ...] = KINDS) -> Asked:
        """(cells, ids, targets): random scenes, and what to read and to answer about each; on the CPU."""
        return self.asked(self.scenes.sample(size, generator, kinds))

    def asked(self, batch: SceneBatch) -> Asked:
        """Questions as ids, behind an image token for each cell; the targets are the answer and the end."""
        mark = [self.image_token] * self.scenes.n_cells
        prompts = [mark + ids for ids in self._ids(self.scenes.questions(batch))]
        end = self.tokenizer.get_vocab()[END]
        texts = completion_examples(prompts, self._ids(self.scenes.answers(batch)), end, pad_id=end).all()
        return batch.cells, texts.inputs, texts.targets

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [
            [i for i, real in zip(line.ids, line.attention_mask, strict=True) if real]
            for line in self.tokenizer.encode_batch(texts)
        ]


def questions(emoji: Emoji, split: Split) -> Questions:
    """What can be asked about the emoji that are learned."""
    known = [i for i in split.train.concepts.tolist() if emoji.concepts[i].group in GROUPS]
    known = [i for i in known if emoji.concepts[i].name.isalpha()]
    scenes = Scenes(tuple(emoji.concepts[i].name for i in known))
    tokenizer = word_tokenizer([IMAGE, NOTHING, *scenes.vocabulary])
    words = torch.tensor([tokenizer.token_to_id(word) for word in (*scenes.names, NOTHING)])
    return Questions(scenes, torch.tensor(known), tokenizer, words)


def as_words(model: VLM, task: Questions, cells: Int[Tensor, "scenes cells"]) -> Float[Tensor, "tiles 1 d_model"]:
    """Scenes as the decoder reads them without eyes: in each place the word, as a vector of length one."""
    ids = task.words[cells.flatten()].to(model.decoder.tokens.weight.device)
    return F.normalize(model.decoder.tokens(ids), dim=-1)[:, None]


@dataclass(frozen=True)
class Bank:
    """What frozen eyes say of pictures: computed once, since it never changes. The last concept is an empty tile."""

    features: Float[Tensor, "copies vendors names_and_nothing d_vision"]

    def draw(self, cells: Int[Tensor, "*places"], generator: torch.Generator) -> Float[Tensor, "*places d_vision"]:
        """For each concept one of its pictures, of any vendor."""
        copies, vendors = (torch.randint(n, cells.shape, generator=generator) for n in self.features.shape[:2])
        where = self.features.device
        return self.features[copies.to(where), vendors.to(where), cells.to(where)]


@torch.no_grad()
def bank(
    model: VLM,
    task: Questions,
    pictures: UInt8[Tensor, "vendors concepts 3 size size"],
    vendors: Int[Tensor, " vendors"],
    strength: float = 0.0,
    seed: int = 0,
) -> Bank:
    """The features of the task's pictures by some vendors: as they are, or for a strength above 0 augmented COPIES."""
    model.eval()
    tile = pictures[vendors][:, task.concepts]
    white = torch.full_like(tile[:, :1], 255)
    flat = torch.cat((tile, white), dim=1)
    generator = torch.Generator().manual_seed(seed)
    copies = []
    for _ in range(COPIES if strength else 1):
        seen = [
            model.encode_pictures(augment(some, generator, strength) if strength else some.float() / 255)
            for some in flat.flatten(0, 1).split(512)
        ]
        copies.append(torch.cat(seen)[:, 0].unflatten(0, flat.shape[:2]))
    return Bank(torch.stack(copies))


def answered(model: VLM, asked: Asked, vectors: Float[Tensor, "tiles 1 d_model"]) -> Loss:
    """The surprise at the answers to questions about scenes whose places are these vectors."""
    _, ids, targets = asked
    return cross_entropy(model(ids.to(vectors.device), picture_vectors=vectors), targets.to(vectors.device))


def named(
    model: VLM, task: Questions, concepts: Int[Tensor, " tiles"], features: Float[Tensor, "tiles d_vision"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of telling each tile's word from all others by the cosine, at a temperature of 0.05.

    It brings the projector into the space of words without a pass through the decoder.
    """
    vectors = model.project(features[:, None])[:, 0]
    with torch.no_grad():
        table = as_words(model, task, torch.arange(len(task.words))[:, None])[:, 0]
    return F.cross_entropy(vectors @ table.T / 0.05, concepts.to(vectors.device) % len(task.words))


@torch.no_grad()
def correct(model: VLM, asked: Asked, vectors: Float[Tensor, "tiles 1 d_model"]) -> Bool[Tensor, " scenes"]:
    """Which questions the model answers with exactly the right words, were it to write the likeliest at each place."""
    model.eval()
    _, ids, targets = asked
    targets = targets.to(vectors.device)
    guess = model(ids.to(vectors.device), picture_vectors=vectors).argmax(dim=-1)
    return ((guess == targets) | (targets == IGNORE_INDEX)).all(dim=1)


def accuracy(
    model: VLM, task: Questions, eyes: Bank | None, how: str = "", each: int = 400, seed: int = 1
) -> dict[str, float]:
    """The share of `each` questions of a kind that are answered exactly; the same ones in every call.

    eyes: what the pictures look like; None for words in their place. how: "shuffled" gives every question the picture
    of another, "blind" vectors of zeros.
    """
    numbers = {}
    for kind in KINDS:
        generator = torch.Generator().manual_seed(seed)
        asked = task.batch(each, generator, (kind,))
        if eyes is None:
            vectors = as_words(model, task, asked[0])
        else:
            with torch.no_grad():
                vectors = model.project(eyes.draw(asked[0].flatten(), generator)[:, None])
        if how == "shuffled":
            vectors = vectors.roll(task.scenes.n_cells, dims=0)
        elif how == "blind":
            vectors = torch.zeros_like(vectors)
        numbers[kind] = correct(model, asked, vectors).float().mean().item()
    return numbers


@torch.no_grad()
def answer(
    model: VLM, tokenizer: Tokenizer, picture: UInt8[Tensor, "3 height width"], question: str, longest: int = 16
) -> str:
    """What the model says about a picture of 2 x 2 tiles: the likeliest word at each step, up to the end.

    Raises ValueError for a picture of another size, and for words that the model does not know.
    """
    vision = model.config.vision
    assert vision is not None  # the recipe's own model has its encoder in the config
    size = vision.image_size
    if picture.shape != (3, 2 * size, 2 * size):
        raise ValueError(
            f"the picture has the shape {tuple(picture.shape)}; the model reads 2 x 2 tiles of {size} pixels, "
            f"(3, {2 * size}, {2 * size})"
        )
    cut = tokenizer.pre_tokenizer.pre_tokenize_str(question)
    if unknown := [word for word, _ in cut if tokenizer.token_to_id(word) is None]:
        raise ValueError(f"the model has never read {', '.join(unknown)}; ask with words of its vocabulary")
    where = model.decoder.tokens.weight.device
    seen = split_into_tiles(picture[None].to(where).float() / 255, size)
    vectors = model.project(model.encode_pictures(seen))
    ids = [model.config.image_token] * len(seen) + tokenizer.encode(question).ids
    start, end = len(ids), tokenizer.token_to_id(END)
    while len(ids) < start + longest:
        token = int(model(torch.tensor([ids], device=where), picture_vectors=vectors)[0, -1].argmax())
        if token == end:
            break
        ids.append(token)
    return tokenizer.decode(ids[start:]).replace(" ,", ",")

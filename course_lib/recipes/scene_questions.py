"""Questions about scenes of 2 x 2 emoji: batches, losses and accuracy of a vision-language model."""

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
from course_lib.infer.generation.generate import complete
from course_lib.infer.generation.sampling import GREEDY
from course_lib.models import VLM
from course_lib.models.vlm import split_into_tiles
from course_lib.nn.storage import device_of
from course_lib.settings import not_supported
from course_lib.train.losses import Loss, cross_entropy
from course_lib.tune.completions import completion_examples

KINDS = ("where", "count", "exist", "caption")  # relations are left out: a trial found that they are not learned
GROUPS = ("animals-nature", "food-drink", "travel-places", "activities", "objects")
IMAGE, NOTHING = "<image>", "<nothing>"  # IMAGE stands for a tile; NOTHING for an empty one, where tiles are words
CONTROLS = ("none", "shuffled", "blind")  # of `accuracy`
COPIES = 6  # augmented versions of each image, encoded once, as the image encoder is frozen

Asked = tuple[Int[Tensor, "scenes cells"], Int[Tensor, "scenes tokens"], Int[Tensor, "scenes tokens"]]


@dataclass(frozen=True)
class Questions:
    """Scenes of the training concepts whose name is one word, and questions about them.

    Attributes:
        scenes: The world that draws scenes, and asks and answers questions.
        concepts: The index in Emoji of each name.
        tokenizer: A tokenizer with one token per word.
        words: The token of each name; the last one, at the index EMPTY = -1, is NOTHING.
    """

    scenes: Scenes
    concepts: Int[Tensor, " names"]
    tokenizer: Tokenizer
    words: Int[Tensor, " names_and_nothing"]

    @property
    def image_token(self) -> int:
        """The id of IMAGE."""
        return self.tokenizer.get_vocab()[IMAGE]

    def batch(self, size: int, generator: torch.Generator, kinds: tuple[str, ...] = KINDS) -> Asked:
        """Draw random scenes and a question about each.

        Returns:
            The scenes, the token ids to read and the targets, on the CPU.
        """
        return self.asked(self.scenes.sample(size, generator, kinds))

    def asked(self, batch: SceneBatch) -> Asked:
        """Encode questions, with an image token for each cell before them; targets are the answer and its end token."""
        mark = [self.image_token] * self.scenes.n_cells
        prompts = [mark + self.tokenizer.encode(text).ids for text in self.scenes.questions(batch)]
        answers = [self.tokenizer.encode(text).ids for text in self.scenes.answers(batch)]
        end = self.tokenizer.get_vocab()[END]
        texts = completion_examples(prompts, answers, end, pad_id=end).all()
        return batch.cells, texts.inputs, texts.targets


def questions(emoji: Emoji, split: Split) -> Questions:
    """Build the questions about the training part of a split."""
    known = [i for i in split.train.concepts.tolist() if emoji.concepts[i].group in GROUPS]
    known = [i for i in known if emoji.concepts[i].name.isalpha()]
    scenes = Scenes(tuple(emoji.concepts[i].name for i in known))
    tokenizer = word_tokenizer([IMAGE, NOTHING, *scenes.vocabulary])
    words = torch.tensor([tokenizer.token_to_id(word) for word in (*scenes.names, NOTHING)])
    return Questions(scenes, torch.tensor(known), tokenizer, words)


def word_vectors(model: VLM, task: Questions, cells: Int[Tensor, "scenes cells"]) -> Float[Tensor, "tiles 1 d_model"]:
    """Describe scenes by words: for each cell, return the embedding of its word, scaled to length 1."""
    ids = task.words[cells.flatten()].to(device_of(model.decoder))
    return F.normalize(model.decoder.token_embedding(ids), dim=-1)[:, None]


FeatureBank = Float[Tensor, "copies vendors names_and_nothing d_vision"]


def draw_features(
    bank: FeatureBank, cells: Int[Tensor, "*places"], generator: torch.Generator
) -> Float[Tensor, "*places d_vision"]:
    """Draw for each concept the features of a random image of it, by any vendor."""
    copies, vendors = (torch.randint(n, cells.shape, generator=generator) for n in bank.shape[:2])
    return bank[copies.to(bank.device), vendors.to(bank.device), cells.to(bank.device)]


@torch.no_grad()
def feature_bank(
    model: VLM,
    task: Questions,
    images: UInt8[Tensor, "all_vendors concepts 3 size size"],
    vendors: Int[Tensor, " vendors"],
    strength: float = 0.0,
    seed: int = 0,
) -> FeatureBank:
    """Compute the features of some vendors' images of the task's concepts; the last concept is an empty tile.

    Args:
        model: The model whose image encoder is used.
        task: The questions, which name the concepts.
        images: The images of all concepts.
        vendors: The indices of the vendors.
        strength: The strength of the augmentation of COPIES versions of each image; 0 for the images as they are.
        seed: The seed of the augmentation.
    """
    model.eval()
    tile = images[vendors][:, task.concepts]
    white = torch.full_like(tile[:, :1], 255)
    flat = torch.cat((tile, white), dim=1)
    generator = torch.Generator().manual_seed(seed)
    copies = []
    for _ in range(COPIES if strength else 1):
        seen = [
            model.encode_images(augment(some, generator, strength) if strength else some.float() / 255)
            for some in flat.flatten(0, 1).split(512)
        ]
        copies.append(torch.cat(seen)[:, 0].unflatten(0, flat.shape[:2]))
    return torch.stack(copies)


def answer_loss(model: VLM, asked: Asked, vectors: Float[Tensor, "tiles 1 d_model"]) -> Loss:
    """Compute the cross-entropy of the answers to questions about scenes whose tiles are these vectors."""
    _, ids, targets = asked
    return cross_entropy(model(ids.to(vectors.device), image_vectors=vectors), targets.to(vectors.device))


def naming_logits(
    model: VLM, task: Questions, features: Float[Tensor, "tiles d_vision"]
) -> Float[Tensor, "tiles names_and_nothing"]:
    """Compare what the projector makes of each tile with the words: cosine similarities, at temperature 0.05."""
    vectors = model.project(features[:, None])[:, 0]
    with torch.no_grad():
        table = word_vectors(model, task, torch.arange(len(task.words))[:, None])[:, 0]
    return vectors @ table.T / 0.05


def naming_loss(
    model: VLM, task: Questions, concepts: Int[Tensor, " tiles"], features: Float[Tensor, "tiles d_vision"]
) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy, in nats, of classifying each tile as its word.

    This loss trains the projector to map into the space of word embeddings, without a pass through the decoder.
    """
    logits = naming_logits(model, task, features)
    return F.cross_entropy(logits, concepts.to(logits.device) % len(task.words))


@torch.no_grad()
def exact_matches(model: VLM, asked: Asked, vectors: Float[Tensor, "tiles 1 d_model"]) -> Bool[Tensor, " scenes"]:
    """Return which questions the model answers with exactly the right words by greedy decoding."""
    model.eval()
    _, ids, targets = asked
    targets = targets.to(vectors.device)
    guess = model(ids.to(vectors.device), image_vectors=vectors).argmax(dim=-1)
    return ((guess == targets) | (targets == IGNORE_INDEX)).all(dim=1)


def accuracy(
    model: VLM, task: Questions, images: FeatureBank | None, control: str = "none", each: int = 400, seed: int = 1
) -> dict[str, float]:
    """Compute the share of questions that are answered exactly, by kind.

    Args:
        model: The model that answers.
        task: The questions.
        images: Features of the tiles' images; None for words in their place.
        control: "shuffled" gives every question the scene of another, "blind" gives vectors of zeros.
        each: The number of questions of each kind.
        seed: The seed of the questions, which are the same in every call with it.

    Raises:
        ValueError: If there is no such control.
    """
    numbers = {}
    for kind in KINDS:
        generator = torch.Generator().manual_seed(seed)
        asked = task.batch(each, generator, (kind,))
        if images is None:
            vectors = word_vectors(model, task, asked[0])
        else:
            with torch.no_grad():
                vectors = model.project(draw_features(images, asked[0].flatten(), generator)[:, None])
        match control:
            case "none":
                pass
            case "shuffled":
                vectors = vectors.roll(task.scenes.n_cells, dims=0)
            case "blind":
                vectors = torch.zeros_like(vectors)
            case other:
                raise not_supported("control", other, CONTROLS)
        numbers[kind] = exact_matches(model, asked, vectors).float().mean().item()
    return numbers


def answer(
    model: VLM, tokenizer: Tokenizer, image: UInt8[Tensor, "3 height width"], question: str, longest: int = 16
) -> str:
    """Answer a question about an image by greedy decoding.

    Args:
        model: The model of `course train vision-text`.
        tokenizer: The model's tokenizer.
        image: An image of 2 x 2 tiles.
        question: The question, in words of the model's vocabulary.
        longest: The number of tokens at which an answer is cut off.

    Raises:
        ValueError: If the image has another size, or a word is not in the model's vocabulary.
    """
    vision = model.config.vision
    assert vision is not None  # the recipe's own model has its encoder in the config
    size = vision.image_size
    if image.shape != (3, 2 * size, 2 * size):
        raise ValueError(
            f"the image has the shape {tuple(image.shape)}; the model reads 2 x 2 tiles of {size} pixels, "
            f"(3, {2 * size}, {2 * size})"
        )
    cut = tokenizer.pre_tokenizer.pre_tokenize_str(question)
    if unknown := [word for word, _ in cut if tokenizer.token_to_id(word) is None]:
        raise ValueError(f"the model has never read {', '.join(unknown)}; ask with words of its vocabulary")
    seen = split_into_tiles(image[None].to(device_of(model.decoder)).float() / 255, size)
    prompt = [model.config.image_token] * len(seen) + tokenizer.encode(question).ids
    end = tokenizer.get_vocab()[END]
    (words,) = complete(model, [prompt], longest, GREEDY, stop_token_ids=[end], images=seen)
    return tokenizer.decode(words).replace(" ,", ",")

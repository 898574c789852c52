"""The command `course look`: the vision-text model answers a question about a picture of four emoji."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from tokenizers import Tokenizer
from torch import Tensor

from course_lib.data.corpora.emoji import Emoji, concepts
from course_lib.data.corpora.emoji_sources import draw
from course_lib.data.corpora.emoji_split import VENDORS
from course_lib.interop import from_pretrained
from course_lib.models import VLM
from course_lib.recipes.run import RecipeError
from course_lib.recipes.scene_questions import answer, questions

EXAMPLES = (
    "what is at the top left?",
    "is dog in the picture?",
    "what is in the picture?",
    "how many times is dog in the picture?",
)
# The model was trained on these four forms alone. To anything else it gives an answer too, which means nothing.
FORMS = re.compile(
    r"what is (at the (top|bottom) (left|right)|in the picture)\?|(how many times )?is \w+ in the picture\?"
)
DRAWN_SIZE = 96  # pixels of a side of each emoji in a picture to look at


def look(picture: Path, question: str, folder: Path) -> str:
    """Answer a question about a picture of 2 x 2 emoji.

    Args:
        picture: An image file. Each quarter of it is a tile; transparent parts are white.
        question: A question of one of the forms in EXAMPLES, about concepts that the model has learned; upper case,
            more spaces and a missing question mark do not matter.
        folder: A folder of `course train vision-text`.

    Raises:
        RecipeError: If the model or the picture cannot be read, the model does not know a word, or the question has
            another form.
    """
    model, tokenizer = _open_model(folder)
    assert model.config.vision is not None  # _open_model has checked it
    image = _read_picture(picture, 2 * model.config.vision.image_size)
    asked = " ".join(question.lower().split()).rstrip("? ") + "?"
    if unknown := _unknown_words(tokenizer, asked):
        raise RecipeError(unknown)
    if not FORMS.fullmatch(asked):
        raise RecipeError(f"the model has learned only four forms of questions; ask as in {_examples()}")
    return answer(model, tokenizer, image, asked)


def draw_scene(file: Path, seed: int) -> list[str]:
    """Draw a scene of four concepts that the model has learned, by the artist that it never saw, into an image file.

    Returns:
        The names of the four, in reading order.

    Raises:
        RecipeError: If the file exists, or is not the name of an image file.
        DataError: If the packages of emoji cannot be fetched.
    """
    if file.exists():
        raise RecipeError(f"{file} exists already; name another file for the picture")
    known = concepts()
    blank = torch.zeros(len(VENDORS), len(known), 3, 1, 1, dtype=torch.uint8)  # only the four that are chosen are drawn
    emoji = Emoji(known, blank)
    split = emoji.split("test")
    task = questions(emoji, split)
    cells = task.scenes.sample(1, torch.Generator().manual_seed(seed), ("where",)).cells[0]  # four different concepts
    drawn = draw([known[i].hexcode for i in task.concepts[cells].tolist()], DRAWN_SIZE)[split.new_vendor.vendors[0]]
    scene = Image.new("RGB", (2 * DRAWN_SIZE, 2 * DRAWN_SIZE))
    for cell, pixels in enumerate(drawn):
        row, column = divmod(cell, 2)
        scene.paste(Image.fromarray(pixels.transpose(1, 2, 0)), (column * DRAWN_SIZE, row * DRAWN_SIZE))
    try:
        scene.save(file)
    except (OSError, ValueError) as error:
        raise RecipeError(f"{file} cannot be written as a picture ({error}); name a file that ends in .png") from None
    return [task.scenes.names[concept] for concept in cells.tolist()]


def _open_model(folder: Path) -> tuple[VLM, Tokenizer]:
    place = folder / "model" if (folder / "model").is_dir() else folder
    if not (place / "config.json").is_file():
        raise RecipeError(
            f"there is no vision-text model in {folder}; train one with `course train vision-text`, or name its folder "
            "with --model"
        )
    model = from_pretrained(place)
    if not isinstance(model, VLM) or model.config.vision is None:
        raise RecipeError(f"{folder} holds a model that sees no pictures; name a folder of `course train vision-text`")
    return model.eval(), Tokenizer.from_file(str(place / "tokenizer.json"))


def _read_picture(file: Path, size: int) -> UInt8[Tensor, "3 size size"]:
    """Read an image file as a square of `size` x `size` pixels on white."""
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RecipeError(f"{file} is not a picture that can be read ({error}); pass a PNG or JPEG file") from None
    except OSError as error:
        raise RecipeError(f"{file} cannot be read ({error.strerror or error}); pass a PNG or JPEG file") from None
    white = Image.new("RGBA", picture.size, "white")
    square = Image.alpha_composite(white, picture).convert("RGB").resize((size, size), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)


def _unknown_words(tokenizer: Tokenizer, question: str) -> str:
    """Say which words the model has never read, and which it knows in their place; nothing if it knows all."""
    known = tokenizer.get_vocab()
    cut = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(question)]
    said = []
    for word in cut:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=3)
            said.append(f"{word!r}" + (f" (it knows {', '.join(near)})" if near else ""))
    return f"the model has never read {', '.join(said)}; ask as in {_examples()}" if said else ""


def _examples() -> str:
    return "; ".join(f'"{example}"' for example in EXAMPLES)

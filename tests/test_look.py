"""`course look`: a picture from a file, a question, an answer; and whatever may be wrong with them, in a sentence."""

import re

import numpy as np
import pytest
import tiny_emoji
import torch
from PIL import Image
from shell import course
from tokenizers import Tokenizer

from course_lib.data.corpora import emoji
from course_lib.data.worlds.scenes import Scenes
from course_lib.interop import from_pretrained, save_pretrained
from course_lib.models import GPT, GPTConfig
from course_lib.recipes import look, scene_questions, vision_text
from course_lib.recipes.run import Run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a run on invented emoji."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COURSE_PRESET", "cpu")
        tiny_emoji.prepare(patch.setattr)
        tiny_emoji.shrink(patch.setattr)
        vision_text.vision_text(Run("vision-text", folder / "out"))
        patch.setattr(look, "draw", tiny_emoji.draw)
        yield folder / "out"
    emoji._words.cache_clear()
    emoji.concepts.cache_clear()


def picture(file, size=2 * tiny_emoji.SIZE, mode="RGB", seed=0):
    """Save a picture of random fields, as large as the model reads, and return its pixels."""
    fields = np.random.default_rng(seed).integers(0, 256, (4, 4, 3))
    pixels = np.kron(fields, np.ones((size // 4, size // 4, 1))).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(file)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def said(capsys, *words):
    """The one sentence that the command ends with."""
    capsys.readouterr()
    assert course("look", *words) == 2
    error = capsys.readouterr().err.strip()
    assert re.match(r"course: .*$", error), error
    return error


def test_the_answer_is_that_of_the_model(model, tmp_path, capsys):
    opened, tokenizer = from_pretrained(model / "model"), Tokenizer.from_file(str(model / "model" / "tokenizer.json"))
    for seed, question in enumerate(look.EXAMPLES[::2]):
        pixels = picture(tmp_path / "a.png", seed=seed)
        expected = scene_questions.answer(opened, tokenizer, pixels, question)
        for folder in (model, model / "model"):
            assert course("look", tmp_path / "a.png", question.capitalize(), "--model", folder) == 0
            assert capsys.readouterr().out.strip() == expected


def test_a_missing_question_mark_changes_nothing(model, tmp_path, capsys):
    picture(tmp_path / "a.png")
    answers = set()
    for question in (
        "what is at the top left?",
        "What is at the  top left",
        "what is at the top left ?",
        "WHAT IS AT THE TOP LEFT??",
    ):
        assert course("look", tmp_path / "a.png", question, "--model", model) == 0
        answers.add(capsys.readouterr().out)
    assert len(answers) == 1


@pytest.mark.parametrize("question", ["what is at the left?", "is the top left in the picture?", "top left", "?"])
def test_a_question_of_a_form_that_was_not_learned(model, tmp_path, capsys, question):
    picture(tmp_path / "a.png")
    error = said(capsys, tmp_path / "a.png", question, "--model", model)
    assert "four forms of questions" in error
    assert all(example in error for example in look.EXAMPLES)


def test_any_size_and_a_transparent_ground_are_read_on_white(tmp_path):
    small = picture(tmp_path / "small.png", 16)
    picture(tmp_path / "large.png", 64)
    assert torch.equal(look._read_picture(tmp_path / "large.png", 16), small)
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert torch.equal(look._read_picture(tmp_path / "clear.png", 16), torch.full((3, 16, 16), 255, dtype=torch.uint8))
    picture(tmp_path / "grey.jpg", 64, mode="L")
    assert look._read_picture(tmp_path / "grey.jpg", 16).shape == (3, 16, 16)


def test_a_camera_that_was_turned(tmp_path):
    pixels = picture(tmp_path / "a.png")
    turned = Image.open(tmp_path / "a.png").transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # the tag for "to be turned by a quarter, clockwise"
    turned.save(tmp_path / "b.png", exif=exif)
    assert torch.equal(look._read_picture(tmp_path / "b.png", 16), pixels)


def test_what_cannot_be_looked_at(model, tmp_path, capsys):
    good, question = tmp_path / "a.png", "what is at the top left?"
    picture(good)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    assert "text.png is not a picture" in said(capsys, tmp_path / "text.png", question, "--model", model)
    assert "none.png cannot be read (No such file" in said(capsys, tmp_path / "none.png", question, "--model", model)
    assert "no vision-text model in" in said(capsys, good, question, "--model", tmp_path / "empty")
    assert "ask something" in said(capsys, good, "--model", model)
    unknown = said(capsys, good, "whot is at the top left?", "--model", model)
    assert "never read 'whot' (it knows what" in unknown
    assert look.EXAMPLES[0] in unknown
    save_pretrained(GPT(GPTConfig(16, context=8, d_model=8, n_layers=1, n_heads=1)), tmp_path / "gpt")
    assert "sees no pictures" in said(capsys, good, question, "--model", tmp_path / "gpt")


def test_a_scene_is_drawn_once(model, tmp_path, capsys):
    file = tmp_path / "scene.png"
    assert course("look", file, "what is at the top left?", "--draw", "--seed", 5, "--model", model) == 0
    shown, answer = capsys.readouterr().out.strip().splitlines()
    names = re.fullmatch(r".*scene.png shows (\w+), (\w+), (\w+), (\w+), row by row\.", shown).groups()
    assert len(set(names)) == 4
    assert answer
    known = emoji.concepts()
    codes = [next(c.hexcode for c in known if c.name == name) for name in names]
    drawn = tiny_emoji.draw(codes, look.DRAWN_SIZE)[3]  # by the artist that is held out
    tiles = np.asarray(Image.open(file)).reshape(2, look.DRAWN_SIZE, 2, look.DRAWN_SIZE, 3).transpose(0, 2, 4, 1, 3)
    assert (tiles.reshape(drawn.shape) == drawn).all()
    assert "exists already" in said(capsys, file, "--draw")
    assert "ends in .png" in said(capsys, tmp_path / "scene.none", "--draw")
    again = tmp_path / "again.png"
    assert course("look", again, "--draw", "--seed", 5) == 0
    assert again.read_bytes() == file.read_bytes()


def test_examples_are_questions_that_scenes_ask():
    scenes = Scenes(("dog", "owl", "cup", "tent", "car"))
    asked = scenes.questions(scenes.sample(500, torch.Generator().manual_seed(0), scene_questions.KINDS))
    assert set(look.EXAMPLES) <= set(asked)
    assert all(look.FORMS.fullmatch(question) for question in asked)

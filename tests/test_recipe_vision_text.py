"""`course train vision-text`: what it leaves, that nothing held out leaks in, and that it goes on after a kill."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_emoji
import torch
from shell import course
from tokenizers import Tokenizer

from course_lib.data.corpora import emoji, emoji_sources
from course_lib.interop import from_pretrained
from course_lib.models import BagCLIP, BagCLIPConfig, ImageEncoderConfig
from course_lib.recipes import image_captions, scene_questions, vision_text
from course_lib.recipes.results import read_results
from course_lib.recipes.run import Run
from course_lib.train import metrics, precision, read_metrics
from course_lib.train.run_state import checkpoint_steps

PROGRAM = Path(__file__).with_name("tiny_emoji.py")
STAGES = ("shuffled", "contrastive", "text", "align", "pictures")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with the prepared files alone, and nothing of what they were made from."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(folder))
        tiny_emoji.prepare(patch.setattr)
    for lock in folder.glob(".*"):
        lock.unlink()
    yield folder
    emoji._words.cache_clear()
    emoji.concepts.cache_clear()


@pytest.fixture(autouse=True)
def tiny(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(cache))
    monkeypatch.setenv("COURSE_PRESET", "cpu")
    monkeypatch.chdir(tmp_path)
    tiny_emoji.shrink(monkeypatch.setattr)


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory):
    """The folder of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(cache))
        patch.setenv("COURSE_PRESET", "cpu")
        tiny_emoji.shrink(patch.setattr)
        run(out)
    return out


@pytest.fixture
def data():
    return image_captions.pairs(emoji.load_emoji(tiny_emoji.SIZE), "test")


def numbers(folder):
    return read_results(folder / "results.json").values


def run(out, **asked):
    return vision_text.vision_text(Run("vision-text", out, **asked)).values


def same(one, other):
    assert numbers(one) == numbers(other)
    for folder in ("clip", "model"):
        for file in ("model.safetensors", "config.json", "tokenizer.json"):
            assert (one / folder / file).read_bytes() == (other / folder / file).read_bytes(), (folder, file)


def test_scores_stand_beside_their_controls(whole):
    results = read_results(whole / "results.json")
    assert results.controls["vision-text.contrastive.new-vendor-r1"] == "vision-text.pixels.new-vendor-r1"
    assert results.controls["vision-text.pictures.new-vendor.count"] == "vision-text.pictures.blind.count"
    for stage in ("untrained", "shuffled", "contrastive"):
        assert 0 <= results.values[f"vision-text.{stage}.both-new-r5"] <= 1
    assert results.provenance.command == "course train vision-text --preset cpu --seed 0"


def test_a_score_that_is_no_claim_has_no_control():
    keys = {"text.count", "None.count", "align.seen.count", "pictures.seen.count", "pictures.blind.count"}
    values = {f"vision-text.{key}": 0.5 for key in keys}
    assert vision_text._controls(values) == {"vision-text.pictures.seen.count": "vision-text.pictures.blind.count"}


def test_samples_say_which_answers_are_wrong(whole, data):
    samples = read_results(whole / "results.json").samples
    task = scene_questions.questions(data.emoji, data.split)
    assert len(samples) == 8
    for given, wrote in samples:
        shown, question = re.fullmatch(r"\[(.+)\] (.+)", given).groups()
        assert len(shown.split(", ")) == 4
        assert set(shown.split(", ")) <= {*task.scenes.names, "nothing"}
        if question == "what is at the top left?":
            right = shown.split(", ")[0]
            assert wrote == right or wrote.endswith(f"(wrong: {right})")
    assert {question.split()[0] for _, question in (given.split("] ") for given, _ in samples)} > {"what"}


def test_the_folders_hold_the_models_that_were_scored(whole, data):
    clip = from_pretrained(whole / "clip")
    prefix = "vision-text.contrastive."
    expected = {key.removeprefix(prefix): v for key, v in numbers(whole).items() if key.startswith(prefix)}
    assert image_captions.retrieval(clip, data) == pytest.approx(
        expected, abs=0.011
    )  # one of the 94 may flip by rounding
    assert Tokenizer.from_file(str(whole / "clip" / "tokenizer.json")).get_vocab() == data.tokenizer.get_vocab()

    model = from_pretrained(whole / "model")
    task = scene_questions.questions(data.emoji, data.split)
    eyes = scene_questions.feature_bank(model, task, data.images, data.split.new_vendor.vendors)
    for kind, value in scene_questions.accuracy(model, task, eyes).items():
        assert value == pytest.approx(numbers(whole)[f"vision-text.pictures.new-vendor.{kind}"], abs=0.006)
    with pytest.raises(ValueError, match='control="upside down" is not supported; use one of none, shuffled, blind'):
        scene_questions.accuracy(model, task, eyes, "upside down", each=1)
    for name, tensor in clip.vision.state_dict().items():  # the eyes stay as they learned to see
        assert torch.equal(tensor, model.vision.state_dict()[name]), name


def test_nothing_that_is_held_out_leaks_into_training(whole, tmp_path, cache, monkeypatch):
    """Other pictures by the test vendor, and other pictures and words of all concepts but the learned: same weights."""
    split = emoji.load_emoji(tiny_emoji.SIZE).split("test")
    hidden = np.ones((4, tiny_emoji.N), bool)
    hidden[split.train.indices()] = False
    learned = set(split.train.concepts.tolist())
    assert 0 < hidden.mean() < 1

    def other_words(locales):
        found = tiny_emoji.words(locales)
        for i, concept in enumerate(found):
            if i not in learned:
                concept["keywords"] = {locale: ["zzz"] for locale in locales}
        return found

    def other_images(*arguments):
        found = tiny_emoji.draw(*arguments)
        found[hidden] = 255 - found[hidden]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
        patch.setattr(tiny_emoji, "words", tiny_emoji.words)
        patch.setattr(emoji_sources, "read_words", other_words)
        patch.setattr(emoji_sources, "draw", other_images)
        emoji._words.cache_clear()
        emoji.concepts.cache_clear()
        found = run(tmp_path / "out")
    emoji._words.cache_clear()
    emoji.concepts.cache_clear()
    for folder in ("clip", "model"):
        file = f"{folder}/model.safetensors"
        assert (tmp_path / "out" / file).read_bytes() == (whole / file).read_bytes()
    assert found["vision-text.pixels.new-vendor-r1"] != numbers(whole)["vision-text.pixels.new-vendor-r1"]


def test_batches_pair_different_learned_concepts_with_their_captions(data):
    generator = torch.Generator().manual_seed(0)
    flat = torch.arange(tiny_emoji.N, dtype=torch.uint8)[None, :, None, None, None].expand(4, -1, 3, 8, 8)
    marked = replace(data, images=flat)  # each picture is the number of its concept
    learned = set(data.split.train.concepts.tolist())
    other = marked.shuffled(0)
    seen = set()
    for source, wrong in ((marked, False), (other, True)):
        for _ in range(20):
            images, ids = source.batch(30, 0.0, generator)
            which = (images[:, 0, 4, 4] * 255).round().int().tolist()
            assert len(set(which)) == len(which)
            assert set(which) <= learned
            seen |= set(which)
            for i, row in zip(which, ids, strict=True):
                of = int(source.owner[i])
                assert (of != i) == wrong
                concept = data.emoji.concepts[of]
                words = {data.tokenizer.id_to_token(t) for t in row.tolist() if t}
                assert words <= {concept.name, *concept.keywords}
    assert seen == learned
    assert sorted(other.owner.tolist()) == list(range(tiny_emoji.N))
    hidden = [i for i in range(tiny_emoji.N) if i not in learned]
    assert other.owner[hidden].tolist() == hidden


def test_unknown_words_are_left_out(data):
    known = data.emoji.concepts[int(data.split.train.concepts[0])].name
    ids = data.ids([f"Qqq {known.upper()}!", "qqq"])
    assert ids.tolist() == [[data.tokenizer.token_to_id(known)], [0]]


def test_recall_counts_ties_and_nan_as_misses():
    similar = torch.tensor([[3.0, 2, 1], [2, 2, 1], [1, 2, 3], [float("nan")] * 3, [1, float("nan"), 0]])
    target = torch.zeros(5, dtype=torch.long)
    assert image_captions.recall(similar, target, 1) == pytest.approx(1 / 5)
    assert image_captions.recall(similar, target, 2) == pytest.approx(3 / 5)  # NaN beside it may have been better
    assert image_captions.recall(similar, target, 3) == pytest.approx(4 / 5)


def test_the_pixel_control_is_the_nearest_neighbour_by_cosine(data):
    split = data.split
    looks = image_captions._pixel_features(data.images.flatten(0, 1)).unflatten(0, data.images.shape[:2])
    centred = looks - looks[split.train.indices()].mean(0)
    cosine = torch.nn.functional.cosine_similarity
    found = torch.stack(
        [cosine(centred[split.train.indices()], one[None]).argmax() for one in centred[split.new_vendor.indices()]]
    )
    concepts = split.train.indices()[1][found]
    right = (concepts == split.new_vendor.concepts).float().mean().item()
    assert image_captions.pixel_baseline(data)["new-vendor-r1"] == pytest.approx(right)


def test_retrieval_of_a_model_that_knows_everything(data):
    """Pictures and names that are one-hot: every recall is 1, and the controls tell that it is no accident."""

    class Perfect(BagCLIP):
        def __init__(self):
            torch.nn.Module.__init__(self)

        def image_features(self, images):
            mean = images.flatten(1)
            match = torch.cdist(mean, data.images.flatten(0, 1).flatten(1).float() / 255).argmin(1)
            return torch.eye(tiny_emoji.N)[match % tiny_emoji.N]

        def text_features(self, ids):
            order = [data.split.new_vendor, data.split.new_concepts, data.split.both_new]
            grid = next((g for g in order if len(g.concepts) == len(ids)), None)
            return torch.eye(tiny_emoji.N)[grid.concepts] if grid else torch.eye(tiny_emoji.N)[: len(ids)]

    found = image_captions.retrieval(Perfect(), data)
    assert all(value == 1 for name, value in found.items() if name != "group"), found
    assert image_captions.retrieval(Perfect(), data.shuffled(0))["new-vendor-r1"] == 1  # it does not read names at all


def test_what_would_be_written_is_what_counts(whole, data):
    """Exact answers by one pass are those of writing word by word."""
    model, task = from_pretrained(whole / "model"), scene_questions.questions(data.emoji, data.split)
    tokenizer = Tokenizer.from_file(str(whole / "model" / "tokenizer.json"))
    torch.manual_seed(0)
    for p in model.decoder.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    batch = task.scenes.sample(200, torch.Generator().manual_seed(3), scene_questions.KINDS)
    vendors = torch.full_like(batch.cells, 3)
    images = task.scenes.images(batch.cells, vendors, data.images[:, task.concepts])
    eyes = scene_questions.feature_bank(model, task, data.images, torch.tensor([3]))
    asked = task.asked(batch)
    vectors = model.project(
        scene_questions.draw_features(eyes, asked[0].flatten(), torch.Generator())[:, None]
    ).detach()
    right = scene_questions.exact_matches(model, asked, vectors).tolist()
    texts = zip(task.scenes.questions(batch), task.scenes.answers(batch), images, strict=True)
    written = [scene_questions.answer(model, tokenizer, image, q) == a for q, a, image in texts]
    assert written == right


def test_asking_about_what_cannot_be_asked(whole):
    model = from_pretrained(whole / "model")
    tokenizer = Tokenizer.from_file(str(whole / "model" / "tokenizer.json"))
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    with pytest.raises(ValueError, match="never read whence, comes"):
        scene_questions.answer(model, tokenizer, image, "whence comes the picture?")
    with pytest.raises(ValueError, match=r"reads 2 x 2 tiles of 8 pixels, \(3, 16, 16\)"):
        scene_questions.answer(model, tokenizer, image[:, :8], "what is in the picture?")


def test_scenes_as_words_and_as_aligned_pictures_are_the_same_to_the_decoder(data):
    """A projector that gives each tile its word answers exactly as the text stage does."""
    plan = vision_text.PRESETS["cpu"]
    task = scene_questions.questions(data.emoji, data.split)
    model = vision_text.vlm(plan, task, torch.device("cpu"))
    cells = task.batch(50, torch.Generator().manual_seed(0))[0]
    assert (cells == -1).any()
    vectors = scene_questions.word_vectors(model, task, cells)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(200, 1))
    bank = torch.randn(2, 3, len(task.words), 16)
    drawn = scene_questions.draw_features(bank, cells, torch.Generator().manual_seed(0))
    assert drawn.shape == (50, 4, 16)
    for cell, vector in zip(cells.flatten().tolist(), drawn.flatten(0, 1), strict=True):
        assert (bank[:, :, cell] == vector).all(-1).any()  # EMPTY finds the last


def test_blind_answers_cannot_beat_the_questions_alone(whole, data):
    task = scene_questions.questions(data.emoji, data.split)
    for kind in scene_questions.KINDS:
        level, n = task.scenes.chance(kind), 400
        limit = level + 4 * (level * (1 - level) / n) ** 0.5 + 1 / n
        assert numbers(whole)[f"vision-text.pictures.blind.{kind}"] <= limit


def begin(out, **environment):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), "train", "vision-text", "--out", str(out), "--resume"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_killed_and_resumed_is_undisturbed(tmp_path, whole, capsys):
    out, draw = tmp_path / "killed", random.Random(0)
    for stage in draw.sample(STAGES, 2):
        process, steps = begin(out, SLOW="0.02"), draw.randrange(1, tiny_emoji.STEPS)
        while len(read_metrics(out / stage / "metrics.jsonl")) < steps and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0), process.communicate()
    run(out, resume=True)
    same(out, whole)


def test_stopped_in_every_stage_and_resumed_is_undisturbed(tmp_path, whole):
    out, write = tmp_path / "out", metrics.Metrics.write
    for stage in STAGES:

        def cut(self, step, stage=stage, **given):
            if self.file.parent.name == stage and step == 7:
                raise RuntimeError("power cut")
            write(self, step, **given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(metrics.Metrics, "write", cut)
            with pytest.raises(RuntimeError, match="power cut"):
                run(out, resume=True)
        assert checkpoint_steps(out / stage / "checkpoints") == [5]
    run(out, resume=True)
    same(out, whole)


def test_a_finished_run_is_only_read(whole, monkeypatch):
    before = (whole / "model" / "model.safetensors").read_bytes()

    def never(*arguments):
        raise AssertionError("a finished run was trained again")

    for room, name in (
        (vision_text, "contrastive_loss"),
        (scene_questions, "answer_loss"),
        (scene_questions, "naming_loss"),
    ):
        monkeypatch.setattr(room, name, never)
    run(whole, resume=True)
    assert (whole / "model" / "model.safetensors").read_bytes() == before


BLOCKED = (
    "gguf,resvg_py,rustbpe,platformdirs,transformers,timm,matplotlib,pandas,scipy,sklearn,yaml,IPython,ipywidgets,"
    "ipykernel,nbformat,nbclient,nbconvert,jupyter,jupyter_core,jupyter_client,jupyterlab,notebook"
)


def test_copied_files_and_torch_are_enough(tmp_path, whole, cache):
    copied = tmp_path / "cache"
    copied.mkdir()
    files = vision_text.prepare()
    assert sorted(files) == sorted(cache.glob("*.npz"))
    for file in files:
        (copied / file.name).write_bytes(file.read_bytes())
    copied.chmod(0o500)
    process = begin(tmp_path / "out", BLOCKED=BLOCKED, COURSE_CACHE=str(copied))
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert re.search(r"pictures\.new-vendor.*\n.*\nwhere +\d", said)
    same(tmp_path / "out", whole)


def test_the_gpu_preset_runs_through_the_same_code(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PRESET", "gpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cpu"))
    monkeypatch.setattr(precision, "bf16_speedup", lambda device: 1.0)  # where it is emulated, measuring takes longer
    found = run(tmp_path / "out", steps=3)
    assert all(value == value for value in found.values())
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "clip" / "tokenizer.json"))
    assert all(tokenizer.token_to_id(code) for code in ("de", "fr", "es", "it"))
    assert from_pretrained(tmp_path / "out" / "model").config.decoder.n_layers == 6


def test_a_tower_of_timm_takes_the_place_of_ours(tmp_path, monkeypatch):
    plan = vision_text.PRESETS["cpu"]
    eyes = ImageEncoderConfig(32, d_model=16, tower="test_resnet")
    monkeypatch.setitem(vision_text.PRESETS, "cpu", replace(plan, image_encoder=eyes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
        patch.setattr(tiny_emoji, "SIZE", 32)
        tiny_emoji.prepare(patch.setattr)
        run(tmp_path / "out", steps=2)
    model = from_pretrained(tmp_path / "out" / "model")
    assert type(model.vision.tower.model).__name__ == "ResNet"


def test_more_artists(tmp_path, monkeypatch):
    plan = vision_text.PRESETS["cpu"]
    monkeypatch.setitem(vision_text.PRESETS, "cpu", replace(plan, more_artists=True))
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    with pytest.MonkeyPatch.context() as patch:
        tiny_emoji.prepare(patch.setattr)
        files = vision_text.prepare()
        assert sorted(files) == sorted((tmp_path / "cache").glob("*.npz"))
        assert [file.name.rpartition("-")[0] for file in files] == [
            "emoji-names",
            "emoji-pictures-8",
            "emoji-more-pictures-8",
        ]
    learned = []
    monkeypatch.setattr(
        vision_text,
        "_feature_bank",
        lambda run, model, task, images, vendors, *augmented: (
            learned.append(vendors.tolist()) or scene_questions.feature_bank(model, task, images, vendors, *augmented)
        ),
    )
    run(tmp_path / "out", steps=2)
    assert learned == [[0, 1, 2, 4, 5, 6, 7], [0, 1, 2, 4, 5, 6, 7], [3]]


def test_the_command_knows_it(capsys, tmp_path):
    assert course("train", "vision-text", "--steps", 1, "--out", tmp_path / "o") == 0
    assert re.search(r"pictures\.new-vendor.*\n.*\nwhere +\d", capsys.readouterr().out)


def test_the_order_of_words_and_padding_change_nothing():
    torch.manual_seed(0)
    model = BagCLIP(BagCLIPConfig(ImageEncoderConfig(8, 4, 6), 20)).eval()
    one = model.text_features(torch.tensor([[3, 5, 9]]))
    other = model.text_features(torch.tensor([[9, 0, 3, 5, 0]]))
    torch.testing.assert_close(one, other)
    mean = model.words.weight[[3, 5, 9]].mean(0)
    torch.testing.assert_close(one[0], torch.nn.functional.normalize(model.text_projection(mean), dim=0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_size": 24}, "image_size=24 is not 8, 16, 32"),
        ({"image_size": 4}, "image_size=4 is not 8, 16, 32"),
        ({"width": 0}, "width=0 must be a whole number, at least 1"),
    ],
)
def test_encoders_that_cannot_be_built(settings, said):
    with pytest.raises(ValueError, match=said):
        ImageEncoderConfig(**settings)

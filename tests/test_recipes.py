"""`course train` from the shell to the model's folder: what it leaves, what stops it, and how it goes on."""

import errno
import json
import math
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
import tiny_recipes
import torch
from shell import course
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_lib import shipped
from course_lib.data.corpora import pretraining
from course_lib.data.corpora.pretraining import pretraining_corpus
from course_lib.infer.generation.open_model import open_model
from course_lib.infer.generation.sampling import Sampling
from course_lib.interop import from_pretrained
from course_lib.measure import ngram_surprise
from course_lib.nn.moe import load_balancing_loss, router_z_loss, routings
from course_lib.recipes import language, report, shipping, vision_text
from course_lib.recipes.command import RECIPES
from course_lib.recipes.results import read_results
from course_lib.site import records
from course_lib.site.paths import Project
from course_lib.train import next_token_loss, precision, read_metrics

PROGRAM = Path(__file__).with_name("tiny_recipes.py")
CLOCK = ("tokens-per-second",)  # those that differ from run to run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A cache that holds the one prepared file, and nothing of what it was made from."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(folder))
        patch.setattr(pretraining, "wikipedia_leads", tiny_recipes.articles)
        pretraining_corpus(tiny_recipes.VOCABULARY)
    (folder / ".corpus.lock").unlink(missing_ok=True)
    assert [file.suffix for file in folder.iterdir()] == [".npz"]
    return folder


@pytest.fixture(autouse=True)
def tiny(prepared, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(prepared))
    monkeypatch.setenv("COURSE_PRESET", "cpu")  # set, so that what the command sets is taken back
    monkeypatch.chdir(tmp_path)
    tiny_recipes.shrink(monkeypatch.setattr)
    monkeypatch.setattr(report, "curve_picture", lambda title, series: "")  # drawn for `whole`; it takes a second


def refused(capsys, *words):
    """What the command says when it ends with one sentence."""
    capsys.readouterr()
    assert course(*words) == 2
    *bars, said = re.split(r"[\r\n]+", capsys.readouterr().err.strip())
    assert said.startswith("course: ")
    assert all("%|" in bar for bar in bars), bars  # nothing but progress came before
    return said


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """The folders of undisturbed runs."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(prepared))
        patch.setenv("COURSE_PRESET", "cpu")
        tiny_recipes.shrink(patch.setattr)
        for recipe in ("gpt", "moe"):
            folders[recipe] = tmp_path_factory.mktemp("whole") / recipe
            assert course("train", recipe, "--out", folders[recipe]) == 0
    return folders


def numbers(folder):
    found = read_results(folder / "results.json").values
    return {key: value for key, value in found.items() if not key.endswith(CLOCK)}


def same(one, other):
    assert numbers(one) == numbers(other)
    files = sorted(path.relative_to(one) for path in one.rglob("model*.safetensors"))
    assert files
    for file in files:
        assert (one / file).read_bytes() == (other / file).read_bytes(), file


def test_the_help_names_every_recipe(capsys):
    assert course("train", "--help") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in RECIPES)


def test_gpt_beats_its_control(whole):
    found = numbers(whole["gpt"])
    assert found["gpt.bits-per-byte"] < 0.8 * found["gpt.unigram-bits-per-byte"]
    assert found["gpt.parameters"] == found["gpt.active-parameters"]
    text = pretraining_corpus(tiny_recipes.VOCABULARY)
    for n, name in ((1, "unigram"), (3, "trigram")):
        nats = ngram_surprise(text.train, text.test, tiny_recipes.VOCABULARY, n).sum().item()
        assert found[f"gpt.{name}-bits-per-byte"] == text.bits_per_byte(nats, text.test)


def test_the_dense_equivalent_has_as_many_active_parameters(whole):
    found = numbers(whole["moe"])
    model = language.PRESETS["moe"]["cpu"].model
    routers = model.n_layers * model.d_model * (model.n_experts + 1)  # and the gate of the shared expert
    assert found["moe.experts.active-parameters"] == found["moe.dense.parameters"] + routers
    assert found["moe.experts.bits-per-byte"] < 0.8 * found["moe.unigram-bits-per-byte"]
    assert found["moe.trigram-bits-per-byte"] == numbers(whole["gpt"])["gpt.trigram-bits-per-byte"]  # of the same text
    assert 1 <= found["moe.experts.busiest-expert"] <= model.n_experts


def test_every_number_tells_where_it_comes_from(whole):
    for recipe, folder in whole.items():
        results = read_results(folder / "results.json")
        score = "gpt.bits-per-byte" if recipe == "gpt" else "moe.experts.bits-per-byte"
        assert results.controls[score] in results.values
        made = results.provenance
        assert made.command == f"course train {recipe} --preset cpu --seed 0"
        assert (made.recipe, made.preset, made.seed, made.device) == (recipe, "cpu", 0, "cpu")
        assert made.versions["torch"] == torch.__version__
        assert made.seconds > 0
        assert re.fullmatch(r"none|[0-9a-f]{10,}\+?", made.commit)


def test_the_report_has_numbers_curves_and_where_they_come_from(whole):
    page, text = ((whole["moe"] / f"report.{ending}").read_text() for ending in ("html", "txt"))
    assert page.count("<figure>") == 2
    assert 'alt="Loss of the training steps: dense goes from' in page
    for words in ("busiest-expert", "Validation, as training went on", "course train moe --preset cpu --seed 0"):
        assert words in page
        assert words in text


def test_the_report_has_samples(whole):
    model = whole["gpt"] / "model"
    samples = read_results(whole["gpt"] / "results.json").samples
    assert [given for given, _ in samples] == list(language.PROMPTS)
    assert len({wrote for _, wrote in samples}) > 1
    again = open_model(model).stream(samples[0][0], language.SAMPLE_TOKENS, Sampling(temperature=0.8), seed=0)
    assert "".join(again) == samples[0][1]
    page, text = ((whole["gpt"] / f"report.{ending}").read_text() for ending in ("html", "txt"))
    for given, wrote in samples:
        assert escape(given) in page
        assert " ".join(wrote.split()) in text


@pytest.mark.parametrize(
    ("recipe", "folder", "kind"),
    [
        ("gpt", "model", "LlamaForCausalLM"),
        ("moe", "model", "Qwen2MoeForCausalLM"),
        ("moe", "dense", "LlamaForCausalLM"),
    ],
)
def test_transformers_opens_the_model(whole, recipe, folder, kind):
    place = whole[recipe] / folder
    theirs, ours = AutoModelForCausalLM.from_pretrained(place), from_pretrained(place)
    assert type(theirs).__name__ == kind
    text = "The carp is a fish. A rose is red or green."
    tokenizer, ids = (
        AutoTokenizer.from_pretrained(place),
        pretraining_corpus(tiny_recipes.VOCABULARY).tokenizer.encode(text),
    )
    assert tokenizer(text)["input_ids"] == ids.tolist()
    assert tokenizer.decode(ids) == text
    with torch.no_grad():
        expected, logits = theirs(ids[None]).logits, ours(ids[None])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    text, key = pretraining_corpus(tiny_recipes.VOCABULARY), {"model": "experts", "dense": "dense"}[folder]
    score = numbers(whole[recipe])["gpt.bits-per-byte" if recipe == "gpt" else f"moe.{key}.bits-per-byte"]
    assert language.bits_per_byte(ours, text, text.test, tiny_recipes.SIZES["context"]) == pytest.approx(
        score, rel=1e-6
    )
    end = text.tokenizer.special_id("<|endoftext|>")
    assert theirs.generation_config.eos_token_id == end == tokenizer.eos_token_id


def test_another_seed_is_another_run(tmp_path, whole):
    assert course("train", "gpt", "--seed", 1, "--out", tmp_path / "out") == 0
    other = numbers(tmp_path / "out")
    assert other["gpt.bits-per-byte"] != numbers(whole["gpt"])["gpt.bits-per-byte"]
    assert other["gpt.trigram-bits-per-byte"] == numbers(whole["gpt"])["gpt.trigram-bits-per-byte"]


def begin(out, recipe, **environment):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), "train", recipe, "--out", str(out), "--resume"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(("recipe", "stage", "steps"), [("gpt", "run", 18), ("moe", "run-experts", 22)])
def test_killed_and_resumed_is_undisturbed(tmp_path, whole, capsys, recipe, stage, steps):
    out = tmp_path / "killed"
    process = begin(out, recipe, SLOW="0.01")
    while len(read_metrics(out / stage / "metrics.jsonl")) < steps and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    said, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert "no checkpoint in" in said
    assert "starting at step 0" in said
    assert course("train", recipe, "--out", out, "--resume") == 0
    assert "goes on from step" in capsys.readouterr().out
    same(out, whole[recipe])

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / stage / "tensorboard"))
    events.Reload()
    seen = [(event.step, event.value) for event in events.Scalars("loss")]
    lines = [line for line in read_metrics(out / stage / "metrics.jsonl") if "loss" in line]
    assert [step for step, _ in seen] == list(range(tiny_recipes.STEPS))  # each once, though the kill took some
    assert [value for _, value in seen] == pytest.approx([line["loss"] for line in lines], rel=1e-6)  # float32


BLOCKED = (
    "gguf,resvg_py,rustbpe,platformdirs,transformers,timm,torchvision,PIL,matplotlib,pandas,scipy,sklearn,yaml,"
    "IPython,ipywidgets,ipykernel,nbformat,nbclient,nbconvert,jupyter,jupyter_core,jupyter_client,jupyterlab,notebook"
)


def test_a_copied_file_and_torch_are_enough(tmp_path, whole, prepared):
    cache = tmp_path / "cache"
    cache.mkdir()
    (file,) = prepared.glob("*.npz")
    (cache / file.name).write_bytes(file.read_bytes())
    cache.chmod(0o500)  # nothing has to be written there either
    process = begin(tmp_path / "out", "moe", BLOCKED=BLOCKED, COURSE_CACHE=str(cache))
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert re.search(r"dense +experts\n.*\nbits-per-byte +\d", said)  # side by side
    same(tmp_path / "out", whole["moe"])


def test_what_is_not_installed_is_named(tmp_path):
    process = begin(tmp_path / "out", "vision-text", BLOCKED="torchvision")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    said = "this needs torchvision, which is not installed; install the course with its extra `vision`"
    assert errors == f"course: {said}\n"


def test_without_the_file_and_network_a_sentence_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert "wikipedia-leads" in refused(capsys, "train", "gpt", "--out", tmp_path / "out")


def interrupt_after(monkeypatch, calls, action):
    """`action` takes the place of the loss once it was computed so often."""
    done = []

    def counting(model, windows):
        done.append(1)
        return action(model, windows) if len(done) == calls else next_token_loss(model, windows)

    monkeypatch.setattr(language, "next_token_loss", counting)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_run_and_says_the_exact_command(tmp_path, whole, monkeypatch, capsys, number):
    def stop(model, windows):
        signal.raise_signal(number)
        return next_token_loss(model, windows)

    out = tmp_path / "my run"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 8, stop)
        assert course("train", "gpt", "--out", out) == 130
    said = capsys.readouterr().out
    again = re.search(r"stopped after \d+ of 30 steps; to go on, run: course (.*)\.\n", said).group(1)
    assert again == f"train gpt --preset cpu --seed 0 --out '{out}' --resume"
    assert course(*shlex.split(again)) == 0
    same(out, whole["gpt"])


def test_an_interrupt_before_the_first_step_says_so_too(tmp_path, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(language, "pretraining_corpus", stop)
    assert course("train", "moe", "--steps", 5, "--seed", 3) == 130
    again = "course train moe --preset cpu --seed 3 --steps 5 --out runs/moe-cpu-seed3 --resume"
    assert f"stopped; to go on, run: {again}\n" in capsys.readouterr().out


def test_a_finished_run_is_only_read(tmp_path, whole, monkeypatch):
    before = {file: file.read_bytes() for file in whole["moe"].rglob("model.safetensors")}

    def never(*arguments):
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(language, "moe_loss", never)
    assert course("train", "moe", "--out", whole["moe"], "--resume") == 0
    assert before == {file: file.read_bytes() for file in whole["moe"].rglob("model.safetensors")}


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys, resume):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("do not lose me")
    said = refused(capsys, "train", "gpt", "--out", tmp_path / "thesis", *resume)
    assert "in use, and not by a run of the course; name another folder with --out" in said
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(capsys, "train", "gpt", "--out", tmp_path / "file", *resume)


def test_a_used_folder_wants_resume(whole, capsys):
    said = refused(capsys, "train", "gpt", "--out", whole["gpt"])
    assert f"course train gpt --preset cpu --seed 0 --out {whole['gpt']} --resume" in said


@pytest.mark.parametrize("asked", [["moe"], ["gpt", "--seed", "1"], ["gpt", "--steps", "31"]], ids=" ".join)
def test_the_folder_of_another_run_is_not_gone_on_with(whole, capsys, asked):
    said = refused(capsys, "train", *asked, "--out", whole["gpt"], "--resume")
    assert "holds another run (gpt --preset cpu --seed 0); ask for the same, or name another folder" in said


def test_a_run_of_other_sizes_is_not_gone_on_with(whole, capsys, monkeypatch):
    monkeypatch.setattr(tiny_recipes, "STEPS", 29)
    tiny_recipes.shrink(monkeypatch.setattr)
    assert "a run of other sizes" in refused(capsys, "train", "gpt", "--out", whole["gpt"], "--resume")


def copy(folder, place):
    place.mkdir()
    for file in folder.rglob("*"):
        if file.is_file():
            (place / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (place / file.relative_to(folder)).write_bytes(file.read_bytes())
    return place


def test_a_half_written_checkpoint_is_named(tmp_path, whole, capsys):
    out = copy(whole["gpt"], tmp_path / "out")
    tensors = next((out / "run" / "checkpoints" / "step-00000030").glob("*.distcp"))
    tensors.write_bytes(tensors.read_bytes()[:1000])
    said = refused(capsys, "train", "gpt", "--out", out, "--resume")
    assert "step-00000030 cannot be read" in said
    assert "remove that folder to go on from step 20" in said


def test_the_checkpoint_of_another_model_is_named(tmp_path, whole, capsys):
    out = copy(whole["moe"], tmp_path / "out")
    (out / "run-experts").rename(out / "aside")
    (out / "run-dense").rename(out / "run-experts")
    assert "holds another run: its model has" in refused(capsys, "train", "moe", "--out", out, "--resume")


@pytest.mark.parametrize("asked", [["--preset", "tpu"], ["--seed", "-1"], ["--steps", "0"], ["--sede", "1"]])
def test_what_cannot_be_asked_for(capsys, asked):
    assert course("train", "gpt", *asked) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert asked[0] in said
    assert not Path("runs").exists()


def test_unknown_recipes_and_presets_name_the_known(capsys, monkeypatch):
    known = ", ".join(RECIPES)
    assert known.startswith("chains, copying, experts, gpt, ")
    assert f"there is no recipe 'bert'; there are: {known}" in refused(capsys, "train", "bert")
    assert "there is no preset 'tpu'; use --preset with cpu, hour, gpu" in refused(
        capsys, "train", "gpt", "--preset", "tpu"
    )
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    assert "torch sees none; use --preset cpu" in refused(capsys, "train", "gpt", "--preset", "gpu")
    monkeypatch.setenv("COURSE_PRESET", "tpu")
    assert "set it to cpu or gpu" in refused(capsys, "train", "gpt")


def test_a_loss_that_is_no_number_ends_with_what_to_do(tmp_path, monkeypatch, capsys):
    def nothing(model, windows):
        loss = next_token_loss(model, windows)
        return loss._replace(total=loss.total * math.nan)

    interrupt_after(monkeypatch, 26, nothing)
    said = refused(capsys, "train", "gpt", "--out", tmp_path / "out")
    assert "the loss is nan" in said
    assert "Try a third of the learning rate" in said
    assert (tmp_path / "out" / "run" / "checkpoints" / "step-00000010").exists()


def test_a_full_disk_loses_nothing(tmp_path, whole, monkeypatch, capsys):
    """First no file may be larger than a checkpoint's, then the disk is full when the model is to be written."""
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        said = refused(capsys, "train", "gpt", "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "step 10 could not be saved" in said
    assert "make room" in said

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "tokenizer.json")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "write_text", full)
        said = refused(capsys, "train", "gpt", "--out", out, "--resume")
    assert "No space left on device" in said
    assert f"make room there, and go on with: course train gpt --preset cpu --seed 0 --out {out} --resume" in said
    assert not (out / "results.json").exists()
    assert course("train", "gpt", "--out", out, "--resume") == 0
    same(out, whole["gpt"])


def test_a_model_larger_than_the_memory_is_said_to_be(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(tiny_recipes.SIZES, "d_ff", 2**44)  # 2^50 bytes a matrix: more than there are addresses
    tiny_recipes.shrink(monkeypatch.setattr)
    said = refused(capsys, "train", "gpt", "--out", tmp_path / "out")
    assert "the preset cpu does not fit into the memory of cpu" in said


def test_prepare_makes_what_all_presets_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretraining, "wikipedia_leads", tiny_recipes.articles)
    pictures = tmp_path / "pictures.npz"
    pictures.write_bytes(bytes(2_340_000))
    monkeypatch.setattr(vision_text, "prepare", lambda: [pictures])
    assert course("data", "prepare") == 0
    said = capsys.readouterr().out
    assert f"{pictures}  (2.3 MB)" in said
    files = sorted((tmp_path / "cache").glob("*.npz"))
    assert len(files) == 2  # English alone for cpu, and with French for gpu
    assert all(str(file) in said for file in files)
    assert "COURSE_CACHE" in said
    monkeypatch.setattr(pretraining, "wikipedia_leads", None)  # it is not read again
    assert course("data", "prepare") == 0
    for recipe in ("gpt", "moe"):
        assert course("train", recipe, "--steps", 2) == 0


def test_the_gpu_preset_runs_the_same_code(tmp_path, monkeypatch, capsys):
    """All but what needs a GPU: the device is the CPU, and nothing is compiled, though that is asked for."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "bf16_speedup", lambda device: 1.0)  # where it is emulated, measuring takes longer
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda objective: compiled.append(objective) or objective)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cpu"))
    monkeypatch.setattr(pretraining, "wikipedia_leads", tiny_recipes.articles)
    for recipe in ("gpt", "moe"):
        assert course("train", recipe, "--preset", "gpu", "--steps", 4, "--out", tmp_path / recipe) == 0
        assert read_results(tmp_path / recipe / "results.json").provenance.preset == "gpu"
    assert len(compiled) == 3
    assert re.search(r"dense +experts\n.*\nbits-per-byte +\d", capsys.readouterr().out)


@pytest.fixture(scope="module")
def hour(prepared, tmp_path_factory):
    """The folder of a run whose model is small enough to ship."""
    folder = tmp_path_factory.mktemp("hour") / "moe"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_CACHE", str(prepared))
        patch.setenv("COURSE_PRESET", "cpu")
        tiny_recipes.shrink(patch.setattr)
        assert course("train", "moe", "--preset", "hour", "--out", folder) == 0
    return folder


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    root = tmp_path / "checkout"
    root.mkdir()
    for name in ("_toc.yml", "_config.yml"):
        (root / name).write_text("")
    monkeypatch.chdir(root)
    return root


def change(folder, place, **fields):
    """The folder's results with other fields of the run, other numbers or other controls, in another folder."""
    place.mkdir()
    found = json.loads((folder / "results.json").read_text())
    for name, value in fields.items():
        if name in found["provenance"]:
            found["provenance"][name] = value
        else:
            found[name] = dict.fromkeys(found[name], value)
    (place / "results.json").write_text(json.dumps(found))
    return place


def test_kept_results_are_cited_by_the_site(tmp_path, whole, checkout, capsys):
    assert course("results", "add", whole["gpt"]) == 0
    assert (checkout / "results" / "cpu" / "gpt-seed0.json").exists()
    assert "results/cpu/gpt-seed0.json" in capsys.readouterr().out
    # Of the preset cpu too, by its name: without one a lab's own number is cited.
    assert all(key.startswith("cpu:") for key in records.merge(Project(checkout), {}))
    for seed in (1, 0):
        command = f"course train gpt --preset gpu --seed {seed}"
        kept = change(whole["gpt"], tmp_path / f"gpu{seed}", preset="gpu", seed=seed, command=command)
        assert course("results", "add", kept) == 0
    merged = records.merge(Project(checkout), {})
    assert merged["gpu:gpt.bits-per-byte"]["value"] == numbers(whole["gpt"])["gpt.bits-per-byte"]
    assert {record["seed"] for key, record in merged.items() if key.startswith("gpu:")} == {0}


def test_the_model_of_an_hour_is_shipped(tmp_path, hour, checkout, monkeypatch, capsys):
    """Kept with its numbers, in half precision; and then it has a name, for our reader and for that of transformers."""
    assert "gpt has no preset hour; use --preset with cpu, gpu" in refused(
        capsys, "train", "gpt", "--preset", "hour", "--out", tmp_path / "gpt"
    )
    assert course("results", "add", hour) == 0
    folder = checkout / "shipped" / "moe"
    assert str(folder) in capsys.readouterr().out
    assert sorted(file.name for file in folder.parent.iterdir()) == ["moe"]
    assert records.merge(Project(checkout), {})["hour:moe.experts.bits-per-byte"]["preset"] == "hour"
    card = (folder / "README.md").read_text()
    curve = "Loss of the training steps"
    for said in ("course train moe --preset hour --seed 0", "bits-per-byte", curve, "The carp", "CC BY-SA 4.0", "{{"):
        assert (said in card) == (said != "{{")
    ids = torch.arange(8)[None]
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    kept = from_pretrained(hour / "model")
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, from_pretrained(folder)(ids), atol=1e-5, rtol=1e-5)
        # float16 rounds a weight by 2^-11 of itself at most.
        for name, weight in from_pretrained(folder).state_dict().items():
            torch.testing.assert_close(weight, kept.state_dict()[name], atol=1e-7, rtol=2**-11)
    monkeypatch.setattr(shipped, "ROOT", checkout)
    capsys.readouterr()
    assert course("generate", "moe", "--prompt", "The carp", "--max-tokens", "5") == 0
    assert capsys.readouterr().out.strip()
    monkeypatch.setattr(shipped, "ROOT", tmp_path)
    assert "`course train moe` makes one" in refused(capsys, "generate", "moe", "--prompt", "The carp")


def test_an_hour_on_another_seed_is_kept_and_its_model_is_not_shipped(tmp_path, hour, checkout, capsys):
    command = "course train moe --preset hour --seed 1"
    assert course("results", "add", change(hour, tmp_path / "again", seed=1, command=command)) == 0
    assert (checkout / "results" / "hour" / "moe-seed1.json").exists()
    assert not (checkout / "shipped").exists()


def test_a_model_too_large_to_ship_leaves_nothing(hour, checkout, monkeypatch, capsys):
    monkeypatch.setattr(shipping, "LARGEST", 1000)
    assert "at most 0.001 MB are shipped" in refused(capsys, "results", "add", hour)
    assert not any((checkout / "shipped").iterdir())
    assert not (checkout / "results").exists()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"values": math.nan}, "holds no number for gpt.bits-per-byte"),
        ({"values": "0.9"}, "is not what `course train` writes"),
        ({"controls": "gpt.other"}, "holds no number for gpt.other"),
        ({"recipe": "../../gpt"}, "names no recipe"),
        ({"preset": "tpu"}, "names no recipe"),
        ({"seed": "0/.."}, "names no recipe"),
        ({"command": "course train gpt --preset cpu --seed 0 --steps 3"}, "run it without --steps"),
    ],
)
def test_results_that_cannot_be_kept(tmp_path, whole, checkout, capsys, fields, complaint):
    assert complaint in refused(capsys, "results", "add", change(whole["gpt"], tmp_path / "changed", **fields))
    assert not (checkout / "results").exists()


def test_folders_without_results(tmp_path, whole, checkout, capsys):
    assert "no results.json" in refused(capsys, "results", "add", tmp_path)
    for text, complaint in (
        ("{", "cannot be read"),
        ("[]", "is not what `course train` writes"),
        ('{"values": {}}', "is not what `course train` writes"),
        ('{"values": {"a.b": 1}, "controls": {}, "provenance": {}}', "missing 8 required positional arguments"),
    ):
        (tmp_path / "results.json").write_text(text)
        assert complaint in refused(capsys, "results", "add", tmp_path)


def test_the_balanced_loss_is_the_surprise_and_means_over_layers():
    torch.manual_seed(0)
    model = language.GPT(language.PRESETS["moe"]["cpu"].model)
    windows = torch.randint(300, (3, 9))
    loss = language.moe_loss(model, windows)
    layers = [load_balancing_loss(r.logits, 2) * 0.01 + router_z_loss(r.logits) * 0.001 for r in routings(model)]
    expected = next_token_loss(model, windows).mean + sum(layers) / 2
    torch.testing.assert_close(loss.mean, expected)
    loss.mean.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_bits_per_byte_of_a_model_that_knows_nothing():
    text, size = pretraining_corpus(tiny_recipes.VOCABULARY), tiny_recipes.VOCABULARY

    class Even(torch.nn.Module):
        def forward(self, ids):
            return torch.zeros(*ids.shape, size)

    targets = text.test[1 : (len(text.test) - 1) // 16 * 16 + 1]
    n_bytes = len(text.tokenizer.decode_bytes(targets[targets != text.tokenizer.special_id("<|endoftext|>")]))
    found = language.bits_per_byte(Even(), text, text.test, 16, batch=5)
    assert found == pytest.approx(len(targets) * math.log2(size) / n_bytes, rel=1e-6)


def test_balancing_by_bias_alone_is_a_change_of_one_setting(tmp_path, monkeypatch):
    plan = language.PRESETS["moe"]["cpu"]
    biased = replace(plan, model=replace(plan.model, balanced_by_bias=True))
    monkeypatch.setitem(language.PRESETS["moe"], "cpu", biased)

    def unbalanced(model, windows):
        raise RuntimeError("the loss that balances was asked for")

    monkeypatch.setattr(language, "moe_loss", unbalanced)
    assert course("train", "moe", "--steps", 5, "--out", tmp_path / "out") == 0
    model = from_pretrained(tmp_path / "out" / "model")
    biases = torch.stack([block.feed_forward.selection_bias for block in model.blocks])
    assert biases.abs().max() > 0
    steps = biases / 1e-3  # each step moves a bias by its rate, up or down
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    monkeypatch.setitem(language.PRESETS["moe"], "cpu", plan)
    with pytest.raises(RuntimeError, match="the loss that balances"):  # which otherwise it is
        course("train", "moe", "--steps", 5, "--out", tmp_path / "other")

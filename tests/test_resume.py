"""A run that was stopped, killed or cut off goes on as if it had never stopped: to the bit."""

import errno
import functools
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close

from course_lib.data.loading.loader import Loader, Windows
from course_lib.models import GPT, Bert, BertConfig, GPTConfig
from course_lib.train import Loss, RunFolder, TrainConfig, checkpoint, next_token_loss, read_metrics, train
from course_lib.train.checkpoint import load_checkpoint, save_checkpoint
from course_lib.train.losses import cross_entropy, mask_tokens, masked_token_loss
from course_lib.train.optim import lr_factor
from course_lib.train.run_state import CheckpointError, RunState, checkpoint_steps

TEXT = torch.randint(7, (2000,), generator=torch.Generator().manual_seed(0))
LOADER = Loader(Windows(TEXT, 8), batch_size=10, seed=3)  # 249 windows: an epoch ends within 25 steps


class Noisy(GPT):
    """A model that uses torch's own generator, as dropout does."""

    def forward(self, ids):
        return super().forward(ids) + 0.1 * torch.randn(())


def drawn(generator):
    return TEXT[torch.randint(1900, (10, 1), generator=generator) + torch.arange(9)]


def config(**changes):
    return TrainConfig(**{"steps": 40, "lr": 1e-2, "warmup_steps": 5, "weight_decay": 0.1, **changes})


def model(seed=0, **changes):
    torch.manual_seed(seed)
    return Noisy(GPTConfig(**{"vocab_size": 7, "context": 8, "d_model": 8, "n_layers": 1, "n_heads": 2} | changes))


def run(folder, batches=LOADER, settings=None, stop_after=None, seed=0, **options):
    """Train, perhaps with an accident after some steps, and give the weights and what was noted."""
    net, calls = model(seed), []

    def loss(net, batch):
        calls.append(1)
        if stop_after is not None and len(calls) > stop_after:
            raise RuntimeError("power cut")
        return next_token_loss(net, batch)

    train(net, batches, loss, settings or config(), folder=RunFolder(folder, save_every=7, **options))
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(folder / "metrics.jsonl")]
    return net.state_dict(), lines


def same(one, other):
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    for name in one[0]:
        assert torch.equal(one[0][name], other[0][name]), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A function that trains without an accident, once for each kind of run: its folder, and what `run` gives."""

    @functools.cache
    def made(from_loader=True, settings=None):
        folder = tmp_path_factory.mktemp("whole")
        return folder, run(folder, LOADER if from_loader else drawn, settings)

    return made


@pytest.fixture
def whole(undisturbed):
    """The weights and what was noted of an undisturbed run."""
    return undisturbed()[1]


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of the folder of an undisturbed run."""
    return shutil.copytree(undisturbed()[0], tmp_path / "finished")


@pytest.mark.parametrize("batches", [LOADER, drawn], ids=["loader", "generator"])
@pytest.mark.parametrize(
    "settings",
    [
        config(),
        config(optimizer="muon", schedule="wsd"),
        config(gradient_accumulation_steps=3),
        config(precision="bf16"),
    ],
    ids=["adamw", "muon", "accumulate", "bf16"],
)
@pytest.mark.parametrize("cut", [0, 7, 26])
def test_resumed_is_uninterrupted(tmp_path, undisturbed, batches, settings, cut):
    _, whole = undisturbed(batches is LOADER, settings)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", batches, settings, stop_after=cut * settings.gradient_accumulation_steps)
    # Another start, and another state of torch's generator: both have to come from the checkpoint, where there is one.
    same(run(tmp_path / "cut", batches, settings, seed=5 if cut >= 7 else 0, resume=True), whole)
    assert checkpoint_steps(tmp_path / "cut" / "checkpoints") == [35, 40]


def test_what_would_differ_without_the_optimizers_state(tmp_path, whole):
    """The control of the test above: with the weights alone, the numbers come out different."""
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", stop_after=26)
    load = load_checkpoint

    def forgetful(folder, run):
        done = load(folder, run)
        for optimizer in run.optimizers:
            optimizer.state.clear()
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("course_lib.train.checkpoint.load_checkpoint", forgetful)
        forgotten = run(tmp_path / "cut", resume=True)
    assert not torch.equal(forgotten[0]["lm_head.weight"], whole[0]["lm_head.weight"])


def test_a_finished_run_is_only_read(finished, whole):
    again = run(finished, stop_after=0, seed=4, resume=True)  # the loss is never asked for
    same(again, whole)


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "course_lib.train"])  # once, and not in each process that is to be killed


def learn_slowly(folder, said):
    """Train in a process of its own, and write to a file what it says, and a line at each step."""
    for stream in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND), stream)
    torch.set_num_threads(1)

    def slow(net, batch):
        time.sleep(0.01)
        print("step", flush=True)
        return next_token_loss(net, batch)

    train(model(), LOADER, slow, config(), "demo", RunFolder(folder, resume=True, save_every=2))


def start(folder):
    said = folder.with_suffix(".txt")
    said.write_text("")
    process = FORKS.Process(target=learn_slowly, args=(folder, said), daemon=True)
    process.start()
    return process, said


def wait_for_steps(process, said, n):
    while said.read_text().count("step\n") < n and process.is_alive():
        time.sleep(0.002)


def test_sigkill_at_any_moment(tmp_path, whole):
    folder, moments = tmp_path / "killed", random.Random(1)
    for _ in range(4):
        process, said = start(folder)
        wait_for_steps(process, said, 6)
        time.sleep(moments.uniform(0, 0.06))  # also in the middle of writing a checkpoint, which takes a third of it
        process.kill()
        process.join()
    assert 0 < checkpoint_steps(folder / "checkpoints")[-1] < 40
    process, said = start(folder)
    process.join(120)
    assert process.exitcode == 0, said.read_text()
    assert "goes on from step" in said.read_text()
    net = model(seed=8)
    train(net, LOADER, next_token_loss, config(), folder=RunFolder(folder, resume=True, save_every=2))
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(folder / "metrics.jsonl")]
    same((net.state_dict(), lines), whole)
    assert not list((folder / "checkpoints").glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_says_how_to_go_on(tmp_path, number):
    process, said = start(tmp_path / "run")
    wait_for_steps(process, said, 5)
    os.kill(process.pid, number)
    process.join(60)
    out = said.read_text()
    assert process.exitcode == 0, out
    assert "stopped after" in out
    assert "to go on, pass RunFolder(..., resume=True)" in out
    done = checkpoint_steps(tmp_path / "run" / "checkpoints")[-1]
    assert f"stopped after {done} of 40 steps" in out


def test_resume_without_a_checkpoint_says_so(tmp_path, whole, capsys):
    same(run(tmp_path / "new", resume=True), whole)
    assert "no checkpoint in" in capsys.readouterr().out


def test_two_processes_do_not_train_in_one_folder(tmp_path, whole):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "run", stop_after=30)
    noted = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with (
        FileLock(tmp_path / "run" / ".lock", timeout=0),  # let go when the other one ended, also by an accident
        pytest.raises(CheckpointError, match=r"another process is training in .*run; let it end, or name another"),
    ):
        run(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == noted
    same(run(tmp_path / "run", resume=True), whole)


def test_a_folder_refused_for_another_reason_is_let_go(finished, whole):
    with pytest.raises(CheckpointError, match="holds another run"):
        run(finished, resume=True, settings=config(lr=1.0))
    same(run(finished, resume=True), whole)


def test_a_disk_without_locks_is_no_hindrance(tmp_path, monkeypatch):
    def unknown(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", unknown)
    run(tmp_path)


def test_a_folder_without_rights_is_said(tmp_path, monkeypatch):
    def refused(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refused)  # chmod would not stop root
    with pytest.raises(CheckpointError, match=r"cannot be written to .*Permission denied.*name another folder"):
        run(tmp_path)


@pytest.mark.parametrize("damage", [b"[]", b'{"config": 3}', b"\xff", b""])
def test_a_damaged_description_is_said(finished, damage):
    (finished / "run.json").write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"run\.json is missing or damaged"):
        run(finished, resume=True)


def test_a_line_that_the_disk_spoiled_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 0}\n\xff\x00\n{"step": 2}\n{"st')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 0}, {"step": 2}]


def test_a_used_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(
        CheckpointError, match=r"is in use already; to go on there, pass RunFolder\(\.\.\., resume=True\)"
    ):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        run(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"d_model": 12}, config(), r"its model has blocks\.0\..* = \[.*\], this one \[.*\]"),
        ({"norm_eps": 0.1}, config(), "its settings has norm_eps = 1e-05, this one 0.1"),
        ({}, config(lr=2e-2), "its config has lr = 0.01, this one 0.02"),
        ({}, config(seed=1), "its config has seed = 0, this one 1"),
    ],
)
def test_another_run_is_refused(finished, change, settings, message):
    before = (finished / "run.json").read_text()
    with pytest.raises(CheckpointError, match=message):
        train(model(**change), LOADER, next_token_loss, settings, folder=RunFolder(finished, resume=True))
    assert (finished / "run.json").read_text() == before


def test_more_steps_may_be_asked_for(tmp_path, capsys):
    constant = config(schedule="constant")
    longer = config(schedule="constant", steps=50)
    whole = run(tmp_path / "whole", settings=longer)
    run(tmp_path / "more", settings=constant)
    same(run(tmp_path / "more", settings=longer, resume=True), whole)
    assert "planned for 40 steps, now 50" in capsys.readouterr().out


def test_after_a_resume_the_steps_before_it_count(tmp_path):
    steps = []
    for n in (3, 5):
        folder = RunFolder(tmp_path / "run", resume=True)
        train(
            model(),
            LOADER,
            next_token_loss,
            config(steps=n),
            folder=folder,
            after_step=lambda step, _: steps.append(step),
        )
    assert steps == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("damage", ["cut", "gone", "state"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_works(finished, whole, damage):
    newest = finished / "checkpoints" / "step-00000040"
    tensors = next(newest.glob("*.distcp"))
    if damage == "cut":
        tensors.write_bytes(tensors.read_bytes()[:100])
    elif damage == "gone":
        tensors.unlink()
    else:
        (newest / "state.json").write_text("{")
    with pytest.raises(
        CheckpointError, match=r"step-00000040 cannot be read .*remove that folder to go on from step 35"
    ):
        run(finished, resume=True)
    for file in newest.rglob("*"):
        file.unlink()
    newest.rmdir()
    same(run(finished, resume=True), whole)


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, whole, monkeypatch):
    calls = []

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(*args, **kwargs)

    save = checkpoint.dcp.save
    monkeypatch.setattr(checkpoint.dcp, "save", full)
    with pytest.raises(CheckpointError, match=r"step 21 could not be saved .*No space left.*make room"):
        run(tmp_path / "full")
    assert checkpoint_steps(tmp_path / "full" / "checkpoints") == [7, 14]
    assert not list((tmp_path / "full" / "checkpoints").glob(".*"))
    same(run(tmp_path / "full", resume=True, seed=2), whole)


def test_a_half_written_checkpoint_is_none(finished):
    newest = finished / "checkpoints" / "step-00000040"
    newest.rename(newest.with_name(".step-00000040.partial"))
    assert checkpoint_steps(finished / "checkpoints") == [35]


def test_metrics_are_lines_of_json_and_say_what_was_measured(tmp_path):
    net = model()
    history = train(
        net,
        LOADER,
        next_token_loss,
        config(),
        folder=RunFolder(tmp_path),
        validate=lambda: {"validation": float(net.training)},
        validate_every=20,
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(40))
    assert [line["loss"] for line in steps] == history.loss
    assert [line["grad_norm"] for line in steps] == history.grad_norm
    assert {line["targets"] for line in steps} == {80}
    assert [(line["step"], line["validation"]) for line in lines if "validation" in line] == [(19, 0.0), (39, 0.0)]
    assert net.training


def test_gradients_of_several_batches_are_those_of_one():
    """Divided by all targets of the step, however unevenly they lie; a mean of means would be another number."""
    torch.manual_seed(0)
    ids = torch.randint(7, (6, 9))
    targets = ids.clone()
    targets[:2, 3:] = -100  # the first batch has few targets

    def loss(net, batch):
        return cross_entropy(net(ids[batch][:, :-1]), targets[batch][:, 1:])

    results = []
    for size in (6, 2, 3):
        torch.manual_seed(1)
        net = GPT(GPTConfig(7, context=8, d_model=8, n_layers=1, n_heads=2)).double()
        parts = iter(torch.arange(6).split(size))
        gradients = []

        def look(optimizer, args, kwargs, net=net, gradients=gradients):
            gradients.extend(p.grad.flatten() for p in net.parameters())

        hook = register_optimizer_step_pre_hook(look)
        history = train(
            net,
            lambda g, parts=parts: next(parts),
            loss,
            config(steps=1, gradient_accumulation_steps=6 // size, warmup_steps=0),
        )
        hook.remove()
        results.append((history.loss, torch.cat(gradients)))
    for losses, gradient in results[1:]:
        assert losses == pytest.approx(results[0][0], rel=1e-12)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-9, atol=1e-12)


def test_data_that_ends_is_said(tmp_path):
    with pytest.raises(ValueError, match="the data ended at step 25"):
        train(
            model(),
            Loader(Windows(TEXT, 8), 10, epochs=1),
            next_token_loss,
            config(gradient_accumulation_steps=1, steps=40),
        )


def test_an_interrupt_while_saving_is_an_interrupt(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.dcp.FileSystemWriter, "write_data", interrupted)
    history = train(model(), LOADER, next_token_loss, config(), folder=RunFolder(tmp_path, save_every=7))
    assert history.interrupted
    assert checkpoint_steps(tmp_path / "checkpoints") == []


def test_an_interrupt_during_the_last_step_is_one(tmp_path):
    def last(net, batch):
        calls.append(1)
        if len(calls) == 40:
            os.kill(os.getpid(), signal.SIGINT)
        return next_token_loss(net, batch)

    calls = []
    history = train(model(), LOADER, last, config(), folder=RunFolder(tmp_path))
    assert history.interrupted
    assert len(history.step) == 40
    assert checkpoint_steps(tmp_path / "checkpoints")[-1] == 40


def filling(generator):
    """(ids with some hidden, what they were) of a language of seven tokens."""
    return mask_tokens(torch.randint(1, 7, (4, 8), generator=generator), generator, 0, 7)


def test_a_parameter_that_no_loss_reaches_is_no_hindrance(tmp_path):
    """BERT's pooler has no gradient, so the optimizer knows nothing of it, nor does the checkpoint."""

    def model():
        torch.manual_seed(0)
        return Bert(BertConfig(7, context=8, d_model=8, n_layers=1, n_heads=2, pooler=True))

    whole, cut, resumed = model(), model(), model()
    config = TrainConfig(6, lr=1e-2)
    train(whole, filling, masked_token_loss, config)
    train(cut, filling, masked_token_loss, TrainConfig(6, lr=1e-2), folder=RunFolder(tmp_path, save_every=4))
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000006")
    nn.init.zeros_(resumed.token_embedding.weight)
    seen = []

    def pooled_at_last(model, batch):
        """From step 5 on the pooler learns too: its first step is the optimizer's first for it."""
        seen.append(batch)
        extra = model.pooler.weight.sum() if len(seen) > 1 else 0
        loss = masked_token_loss(model, batch)
        return Loss(loss.total + extra, loss.n_targets)

    train(resumed, filling, pooled_at_last, config, folder=RunFolder(tmp_path, resume=True))
    assert len(seen) == 2
    moved = model().pooler.weight - resumed.pooler.weight
    # Adam's first step is the rate, whatever the size of the gradient; its second would be another.
    assert_close(moved, torch.full_like(moved, config.lr * lr_factor(5, config)), rtol=1e-3, atol=0)
    assert torch.equal(cut.token_embedding.weight, whole.token_embedding.weight)


def test_an_error_in_the_evaluation_loses_nothing(tmp_path):
    torch.manual_seed(0)
    model = GPT(GPTConfig(7, context=8, d_model=8, n_layers=1, n_heads=2))
    options = {"validate": lambda: {"loss": 1.0}, "validate_every": 3}
    with pytest.raises(ValueError, match="validate gives loss, as the steps do"):
        train(model, drawn, next_token_loss, TrainConfig(6), folder=RunFolder(tmp_path), **options)
    history = train(model, drawn, next_token_loss, TrainConfig(6), folder=RunFolder(tmp_path, resume=True))
    assert history.step == list(range(6))
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == list(range(6))


def test_another_order_or_other_data_is_another_run(tmp_path):
    torch.manual_seed(0)
    model = GPT(GPTConfig(7, context=8, d_model=8, n_layers=1, n_heads=2))
    data = torch.randint(7, (50, 9))
    train(model, Loader(data, 4), next_token_loss, TrainConfig(3), folder=RunFolder(tmp_path))
    for other, name in ((Loader(data, 4, seed=5), "seed"), (Loader(data[:40], 4), "samples")):
        with pytest.raises(CheckpointError, match=f"its data has {name} = "):
            train(model, other, next_token_loss, TrainConfig(3), folder=RunFolder(tmp_path, resume=True))
    with pytest.raises(CheckpointError, match="is at step 3 already; ask for as many steps at least"):
        train(model, Loader(data, 4), next_token_loss, TrainConfig(2), folder=RunFolder(tmp_path, resume=True))
    with pytest.raises(ValueError, match="save_every=0 must be at least 1"):
        RunFolder(tmp_path, save_every=0)


def test_the_checkpoint_of_a_deeper_model_and_an_empty_folder_are_refused(tmp_path):
    def state(n):
        net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(n)))
        return RunState(net, [torch.optim.AdamW(net.parameters())], torch.Generator(), drawn)

    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        load_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, 3, 0, state(2))
    assert load_checkpoint(tmp_path, state(2))[0] == 3
    with pytest.raises(CheckpointError, match=r"cannot be read \(it is of another model, with 1.bias\)"):
        load_checkpoint(tmp_path, state(1))

"""A frozen model learns what a new mark means by its small part alone; and the run is kept, gone on with and loaded."""

import copy
import json
import math
from functools import partial

import families
import pytest
import torch

from course_lib.data.worlds.mirror import MirrorLanguage
from course_lib.errors import ModelError
from course_lib.infer.generation.generate import complete
from course_lib.infer.generation.sampling import Sampling
from course_lib.interop import from_pretrained, to_hf
from course_lib.models import GPT, GPTConfig
from course_lib.train import RunFolder, TrainConfig, train
from course_lib.train.config import CHOICES
from course_lib.train.losses import cross_entropy
from course_lib.train.run_state import CheckpointError
from course_lib.tune.adapter_files import load_adapter, save_adapter
from course_lib.tune.bitfit import train_biases
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import add_lora, merge_lora, unmerge_lora
from course_lib.tune.prefix import add_prefix

WORLD = MirrorLanguage(n_symbols=8, half=4)
REVERSE, COPY, NEW = 8, 9, 10  # marks in front: what to do with the first half
SIZES = {"lora": {"rank": 4, "alpha": 8.0}, "prefix": {"n": 4}, "adapters": {"width": 8}, "bitfit": {}}
RATES = {"lora": 1e-2, "prefix": 0.3, "adapters": 1e-2, "bitfit": 1e-2}
METHODS = {name: (partial(method, **SIZES[name]), RATES[name]) for name, method in families.METHODS.items()}


def texts(mark, generator, batch=64):
    """A mark, four symbols, and the same reversed, or copied."""
    tokens = WORLD.sample(batch, generator).tokens
    if mark == COPY:
        tokens = tokens[:, : WORLD.half].repeat(1, 2)
    return torch.cat((torch.full((batch, 1), mark), tokens), dim=1)


def both(generator):
    return torch.cat((texts(REVERSE, generator), texts(COPY, generator)))


def loss(model, texts):
    """Of the second half, the only one that can be known."""
    targets = texts[:, 1:].clone()
    targets[:, : WORLD.half] = -100
    return cross_entropy(model(texts[:, :-1]), targets)


def loss_of_others(model, texts):
    """The control: the second half is that of another text."""
    return loss(model, torch.cat((texts[:, : WORLD.half + 1], texts.roll(1, 0)[:, WORLD.half + 1 :]), dim=1))


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = GPT(GPTConfig(11, context=12, d_model=32, n_layers=2, n_heads=4))
    train(model, both, loss, TrainConfig(300, lr=3e-3, warmup_steps=20))
    return model


@torch.no_grad()
def surprise(model, mark, seed=77):
    return float(loss(model.eval(), texts(mark, torch.Generator().manual_seed(seed), 256)).mean)


def new(generator):
    return texts(NEW, generator)


@pytest.mark.parametrize("name", METHODS)
def test_what_a_new_mark_means_is_learned(trained, name):
    """From a third of chance or more to a tenth of it, where the control ends at chance; the rest is untouched."""
    method, lr = METHODS[name]
    chance = math.log(WORLD.n_symbols)
    before = surprise(trained, NEW)
    assert before > chance / 3
    after = {}
    for objective in (loss, loss_of_others):
        model = method(copy.deepcopy(trained))
        frozen = {key: p.clone() for key, p in model.named_parameters() if not p.requires_grad}
        train(model, new, objective, TrainConfig(100, lr=lr, warmup_steps=5))
        after[objective] = surprise(model, NEW)
        now = dict(model.named_parameters())
        assert all(torch.equal(now[key], p) for key, p in frozen.items())
        assert not any(now[key].requires_grad for key in frozen)
    assert after[loss] < chance / 10
    assert after[loss_of_others] > before
    assert after[loss_of_others] > 0.9 * chance


def test_steps_without_a_small_part_change_nothing(trained):
    """The other control: low ranks that are not trained leave the surprise where it was."""
    before = surprise(trained, NEW)
    assert surprise(add_lora(copy.deepcopy(trained), 4, 8.0), NEW) == before
    frozen = copy.deepcopy(trained).requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        train(frozen, new, loss, TrainConfig(2))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
def test_a_run_goes_on_to_the_bit(trained, tmp_path, name, optimizer):
    method, lr = METHODS[name]
    config = TrainConfig(12, lr=lr, warmup_steps=3, optimizer=optimizer)
    whole = method(copy.deepcopy(trained))
    small = {key: p.detach().clone() for key, p in trainable_parameters(whole).items()}
    train(whole, new, loss, config)
    calls = []

    def cut(model, batch):
        calls.append(1)
        if len(calls) > 7:
            raise RuntimeError("power cut")
        return loss(model, batch)

    def begun():
        model = method(copy.deepcopy(trained))
        for key, p in trainable_parameters(model).items():  # what is drawn at random, as in the whole run
            p.data.copy_(small[key])
        return model

    with pytest.raises(RuntimeError, match="power cut"):
        train(begun(), new, cut, config, folder=RunFolder(tmp_path, save_every=5))
    model = method(copy.deepcopy(trained))
    history = train(model, new, loss, config, folder=RunFolder(tmp_path, resume=True, save_every=5))
    assert history.step == list(range(12))
    for key, p in whole.named_parameters():
        assert torch.equal(model.get_parameter(key), p), key


def test_a_run_of_another_kind_is_refused(trained, tmp_path):
    config = TrainConfig(2, warmup_steps=0)
    train(add_lora(copy.deepcopy(trained), 4, 8.0), new, loss, config, folder=RunFolder(tmp_path))
    for other, message in (
        (partial(add_lora, rank=3, alpha=8.0), r"its model has .*lora_A\.q = \[4, 32\], this one \[3, 32\]"),
        (partial(add_lora, rank=4, alpha=9.0), "its settings has alpha = 8.0, this one 9.0"),
        (partial(add_lora, rank=4, alpha=8.0, target_modules=("q", "k")), r"its model has .*\.k = None, this one"),
        (train_biases, "its model has"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train(other(copy.deepcopy(trained)), new, loss, config, folder=RunFolder(tmp_path, resume=True))
    # BitFit and full tuning have the same shapes; the method alone tells them apart.
    train(train_biases(copy.deepcopy(trained)), new, loss, config, folder=RunFolder(tmp_path / "bitfit"))
    with pytest.raises(CheckpointError, match="its settings has method = bitfit, this one None"):
        train(copy.deepcopy(trained), new, loss, config, folder=RunFolder(tmp_path / "bitfit", resume=True))


@pytest.mark.parametrize("name", METHODS)
def test_the_small_part_alone_is_kept_and_found(trained, tmp_path, name):
    method, lr = METHODS[name]
    model = method(copy.deepcopy(trained))
    train(model, new, loss, TrainConfig(5, lr=lr, warmup_steps=0))
    save_adapter(model, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    numbers = sum(p.numel() for p in trainable_parameters(model).values())
    if name == "lora":  # peft has one pair for the stacked matrix: B has zeros for the keys, and between the two
        numbers += 2 * 4 * (2 * 3 * 32 - 2 * 32)
    header = 8 * len(trainable_parameters(model)) * 32
    assert 4 * numbers < (tmp_path / "adapter_model.safetensors").stat().st_size < 4 * numbers + header
    again = load_adapter(copy.deepcopy(trained), tmp_path)
    ids = texts(NEW, torch.Generator().manual_seed(1), 3)
    torch.testing.assert_close(again(ids), model(ids))
    assert all(p.requires_grad for p in trainable_parameters(again).values())
    with pytest.raises(ValueError, match=f"tuned by {name} already"):
        load_adapter(again, tmp_path)


@pytest.mark.parametrize("name", METHODS)
def test_a_tuned_model_writes(trained, name):
    """With the cache and the short way for single tokens: the tokens that are likeliest without either."""
    method, lr = METHODS[name]
    model = method(copy.deepcopy(trained))
    train(model, new, loss, TrainConfig(30, lr=lr, warmup_steps=5))
    prompts = texts(NEW, torch.Generator().manual_seed(1), 8)[:, : WORLD.half + 1]
    model.eval()
    ids = prompts
    with torch.no_grad():
        for _ in range(4):
            ids = torch.cat((ids, model(ids)[:, -1].argmax(-1, keepdim=True)), dim=1)
    assert complete(model, prompts.tolist(), 4, Sampling(temperature=0.0)) == ids[:, WORLD.half + 1 :].tolist()


def test_a_merged_model_is_one_of_its_family(trained, tmp_path):
    model = add_lora(copy.deepcopy(trained), 4, 8.0, ("q", "v", "up"))
    train(model, new, loss, TrainConfig(5, lr=1e-2, warmup_steps=0))
    ids = texts(NEW, torch.Generator().manual_seed(1), 3)
    with pytest.raises(ModelError):  # transformers would not know what to do with A and B
        to_hf(model, tmp_path)
    merge_lora(model)
    to_hf(model, tmp_path)
    assert torch.equal(from_pretrained(tmp_path)(ids), model(ids))
    with pytest.raises(ModelError, match="the model is not tuned, or merged"):
        save_adapter(model, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "names no method of ours; we know lora, adapters, bitfit, prefix"),
        ({"n": 3}, r"key has the shape \(4, 2, 8\), not \(4, 3, 8\)"),
        ({"length": 3}, "a setting of .* cannot be used"),
        (None, "holds no settings"),
        ("{", "cannot be read"),
        ("gone", "there is no file .*adapter_config.json"),
    ],
)
def test_damaged_folders(trained, tmp_path, change, message):
    save_adapter(add_prefix(copy.deepcopy(trained), 2), tmp_path)
    file = tmp_path / "adapter_config.json"
    if change == "gone":
        file.unlink()
    elif isinstance(change, str):
        file.write_text(change)
    else:
        file.write_text(json.dumps(change if change is None else json.loads(file.read_text()) | change))
    model = copy.deepcopy(trained)
    parts = [(name, type(part)) for name, part in model.named_modules()]
    with pytest.raises(ModelError, match=message):
        load_adapter(model, tmp_path)
    assert [(name, type(part)) for name, part in model.named_modules()] == parts  # as it was, and to be tuned
    assert all(p.requires_grad for p in model.parameters())
    add_prefix(model, 2)


def test_a_merge_outlives_a_folder_that_does_not_fit(trained, tmp_path):
    model = add_lora(copy.deepcopy(trained), 2, 2.0)
    merge_lora(model)
    save_adapter(add_prefix(copy.deepcopy(trained), 2), tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"n": 3}))
    with pytest.raises(ModelError, match="has the shape"):
        load_adapter(model, tmp_path)
    unmerge_lora(model)
    assert model.tuning["method"] == "lora"


def test_tensors_that_are_missing_or_left_over(trained, tmp_path):
    save_adapter(add_prefix(copy.deepcopy(trained), 2), tmp_path)
    deeper = GPT(GPTConfig(11, context=12, d_model=32, n_layers=3, n_heads=4))
    with pytest.raises(ModelError, match=r"blocks\.2\.attention\.key is missing; blocks\.2\.attention\.value is miss"):
        load_adapter(deeper, tmp_path)
    shallow = GPT(GPTConfig(11, context=12, d_model=32, n_layers=1, n_heads=4))
    with pytest.raises(ModelError, match=r"blocks\.1\.attention\.key is left over"):
        load_adapter(shallow, tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_adapter(copy.deepcopy(trained), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="nothing could be written to"):
        save_adapter(add_prefix(copy.deepcopy(trained), 2), tmp_path / "file")

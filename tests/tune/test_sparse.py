"""Random sparse tuning: at first nothing changes, then the drawn entries and no others; counts, and refusals."""

import copy

import pytest
import torch
from families import GPT2, IDS, LLAMA, shake
from torch import nn

from course_lib.errors import ModelError
from course_lib.models import GPT, GPTConfig
from course_lib.train import TrainConfig, next_token_loss, train
from course_lib.tune.adapter_files import save_adapter
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import add_lora
from course_lib.tune.sparse import Sparse, add_sparse

ALL = ("qkv", "out", "up", "down")


def test_by_hand():
    torch.manual_seed(0)
    base = nn.Linear(5, 4)
    layer = Sparse(base, 3)
    x = torch.randn(2, 5)
    assert torch.equal(layer(x), base(x))
    shake(layer, 1.0)
    weight = base.weight.detach().clone()
    assert len(set(layer.place.tolist())) == 3
    for place, change in zip(layer.place.tolist(), layer.change.tolist(), strict=True):
        weight[place // 5, place % 5] += change
    torch.testing.assert_close(layer(x), x @ weight.T + base.bias)
    assert torch.equal(layer.weight != base.weight, weight != base.weight)
    with pytest.raises(ValueError, match="between 1 and the 20 entries"):
        Sparse(base, 21)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_only_drawn_entries_are_trained(config):
    torch.manual_seed(0)
    base = GPT(config)
    model = add_sparse(copy.deepcopy(base), 101, ALL)
    assert model.tuning == {"method": "sparse", "n": 101, "target_modules": sorted(ALL)}
    assert sum(p.numel() for p in trainable_parameters(model).values()) == 101
    assert torch.equal(model(IDS), base(IDS))
    before = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    losses = train(model, lambda g: IDS, next_token_loss, TrainConfig(30, lr=0.1, warmup_steps=1)).loss
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(model.get_parameter(name), p) for name, p in before.items())
    changed = sum(int((m.weight != m.base.weight).sum()) for m in model.modules() if isinstance(m, Sparse))
    assert 0 < changed <= 101


def test_entries_are_shared_out_by_size_and_drawn_evenly():
    model = GPT(GPTConfig(11, context=8, d_model=16, n_layers=2, n_heads=4))
    add_sparse(model, 384, ALL)  # a sixteenth of 2 x 12 x 256 entries
    counts = {name: m.change.numel() for name, m in model.named_modules() if isinstance(m, Sparse)}
    assert counts["blocks.0.attention.qkv"] == 3 * counts["blocks.0.attention.out"] == 48
    assert counts["blocks.1.feed_forward.up"] == counts["blocks.1.feed_forward.down"] == 64
    torch.manual_seed(0)
    rows = torch.zeros(10)
    for _ in range(400):
        rows += torch.bincount(Sparse(nn.Linear(10, 10), 5).place // 10, minlength=10)
    assert ((rows - 200).abs() < 5 * (200 * 0.9) ** 0.5).all()  # five standard deviations


def test_the_seed_alone_chooses_the_places():
    def places(seed):
        torch.manual_seed(seed)
        return Sparse(nn.Linear(8, 8, bias=False), 6).place

    base = [places(seed) for seed in (0, 0, 1)]
    assert torch.equal(base[0], base[1])
    assert not torch.equal(base[0], base[2])


@pytest.mark.parametrize(
    ("n", "target_modules", "message"),
    [
        (100, "magic", 'there is no linear layer "magic" in the model; there are down, lm_head, out, qkv, up'),
        (100, ("out", "lm_head"), "lm_head is the embedding of the tokens too"),
        (3, ALL, "between the number of layers, 8"),
        (9, ALL, "the smallest of the matrices would get none"),
        (10**6, "out", "their entries, 512"),
    ],
)
def test_refusals(n, target_modules, message):
    model = GPT(GPT2)
    with pytest.raises(ValueError, match=message):
        add_sparse(model, n, target_modules)
    assert all(p.requires_grad for p in model.parameters())


def test_one_method_at_a_time():
    with pytest.raises(ValueError, match="tuned by lora already"):
        add_sparse(add_lora(GPT(GPT2), 1, 1.0), 100, "out")


def test_it_is_not_kept_in_a_folder_that_nobody_could_load(tmp_path):
    with pytest.raises(ModelError, match="cannot be saved: it is only a control"):
        save_adapter(add_sparse(GPT(GPT2), 100, ALL), tmp_path)

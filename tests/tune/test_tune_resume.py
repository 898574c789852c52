"""Every method goes on after a stop as if there had been none, to the bit; also in the middle of a rollout."""

from functools import partial

import pytest
import torch
from tiny import END, gpt

from course_lib.data.loading.loader import Loader
from course_lib.models import GPT
from course_lib.train import RunFolder, TrainConfig, read_metrics, train
from course_lib.train.run_state import CheckpointError, checkpoint_steps
from course_lib.tune import dpo, grpo, ppo, reward, rollout, sft
from course_lib.tune.completions import completion_examples
from course_lib.tune.lora import add_lora

PROMPTS = [[0], [1, 2], [2, 2, 1]]
CHOSEN = [[0, 0], [1], [0, 1, 0]]
REJECTED = [[2], [2, 1, 2], [2, 2]]


def reward_fn(texts):
    """One point for each 0 that was written."""
    return ((texts.ids == 0) & texts.completion_mask).sum(1).float()


def lucky_reward_fn(texts):
    """A reward function that draws numbers of its own from torch's generator."""
    return reward_fn(texts) + torch.rand(len(texts.ids))


def method(name, seed=0, **style):
    """The module that is trained, its batches, and the loss."""
    policy, start = gpt(seed, **style), gpt(0, **style)  # the reference is the start, whatever the policy has become
    compared = reward.preference_examples(PROMPTS, CHOSEN, REJECTED, END)
    options = {"max_new_tokens": 3, "eos_token_id": END}
    match name:
        case "sft":
            return policy, Loader(completion_examples(PROMPTS, CHOSEN, END), 2), sft.sft_loss
        case "packed":
            return (
                policy,
                Loader(sft.pack_examples(completion_examples(PROMPTS * 3, CHOSEN * 3, END), 7), 2),
                sft.sft_loss,
            )
        case "reward":
            return (
                reward.RewardModel(gpt(seed, **{"tie_embeddings": False} | style)),
                Loader(compared, 2),
                reward.reward_loss,
            )
        case "dpo":
            return policy, Loader(dpo.with_ref_logprobs(compared, start), 2), dpo.dpo_loss
        case "iterative dpo":

            def next_batch(turn, generator):
                pairs = dpo.sample_preferences(policy, PROMPTS, reward_fn, 4, generator, **options)
                return dpo.with_ref_logprobs(pairs, start)[torch.arange(4)]

            return policy, dpo.IterativeBatches(next_batch, 4), dpo.dpo_loss
        case "ppo":
            pair = ppo.ActorCritic(policy, reward.RewardModel(gpt(seed + 1, **style)))
            collect = partial(ppo.ppo_rollout, pair, start, PROMPTS, lucky_reward_fn, n_prompts=8, **options)
            return pair, rollout.RolloutBuffer(collect, epochs=2, minibatches=4), ppo.ppo_loss
        case "grpo":
            collect = partial(
                grpo.grpo_rollout, policy, start, PROMPTS, reward_fn, n_prompts=2, group_size=4, **options
            )
            return policy, rollout.RolloutBuffer(collect, epochs=3, minibatches=2), grpo.grpo_loss


def run(folder, name, seed=0, stop_after=None, steps=14, part=None, few=False, **options):
    model, batches, objective = method(name, seed)
    if few:  # as a batch source knows the policy, it is tuned in place
        add_lora(next(part for part in model.modules() if isinstance(part, GPT)), rank=2, alpha=4)
    if part is not None:
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad_(part in parameter_name)
    calls = []

    def loss(model, batch):
        calls.append(1)
        if stop_after is not None and len(calls) > stop_after:
            raise RuntimeError("power cut")
        return objective(model, batch)

    config = TrainConfig(steps, lr=1e-2, warmup_steps=0, weight_decay=0.1)
    train(model, batches, loss, config, folder=RunFolder(folder, save_every=3, **options))
    lines = read_metrics(folder / "metrics.jsonl")
    return model.state_dict(), [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


NAMES = ["sft", "packed", "reward", "dpo", "iterative dpo", "ppo", "grpo"]


def same(one, other):
    assert one[1] == other[1]
    for name in one[0]:
        assert torch.equal(one[0][name], other[0][name]), name


@pytest.mark.parametrize("name", NAMES)
def test_resumed_is_uninterrupted(tmp_path, name):
    whole = run(tmp_path / "whole", name)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", name, stop_after=4)
    with pytest.raises(
        RuntimeError, match="power cut"
    ):  # from the checkpoint after 3 steps, in the middle of a rollout
        run(tmp_path / "cut", name, seed=7, stop_after=7, resume=True)
    same(run(tmp_path / "cut", name, seed=8, resume=True), whole)  # from that after 9 steps
    assert len({line["loss"] for line in whole[1]}) == 14


@pytest.mark.parametrize("name", NAMES)
def test_with_most_parameters_frozen(tmp_path, name):
    """Only the attention is trained, the rest stays, and a run of it resumes too."""
    start = method(name)[0].state_dict()
    whole = run(tmp_path / "whole", name, part="attention")
    changed = {key for key in start if not torch.equal(start[key], whole[0][key])}
    assert changed
    assert all("attention" in key for key in changed)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", name, stop_after=10, part="attention")
    same(run(tmp_path / "cut", name, part="attention", resume=True), whole)


@pytest.mark.parametrize("name", NAMES)
def test_with_lora(tmp_path, name):
    """The policy, or the body of the reward model, is tuned by matrices of low rank alone; that resumes too."""
    whole = run(tmp_path / "whole", name, few=True)
    start = method(name)[0].state_dict()
    body = {key.replace(".base.", "."): value for key, value in whole[0].items()}
    changed = {key for key in start if not torch.equal(start[key], body[key])}
    assert not any(key.startswith(("blocks", "body", "actor", "token_embedding")) for key in changed)
    assert any((value != 0).any() for key, value in whole[0].items() if ".lora_B." in key)  # B, which is 0 at the start
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", name, stop_after=10, few=True)
    same(run(tmp_path / "cut", name, few=True, resume=True), whole)


LLAMA = {
    "position": "rope",
    "norm": "rms",
    "activation": "swiglu",
    "bias": False,
    "tie_embeddings": False,
    "n_kv_heads": 1,
}
STYLES = {"llama": LLAMA, "experts": LLAMA | {"n_experts": 4}, "alibi": {"position": "alibi"}, "t5": {"position": "t5"}}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", STYLES)
def test_any_decoder_will_do(name, style):
    """With whatever positions, norms and experts: a few steps, and what is learned from has become less surprising."""
    model, batches, loss = method(name, **STYLES[style])
    history = train(model, batches, loss, TrainConfig(6, lr=1e-2, warmup_steps=0))
    assert len(history.loss) == 6
    if name not in ("iterative dpo", "ppo", "grpo"):  # whose batches change
        assert history.loss[-1] < history.loss[0]


def test_the_rest_of_a_rollout_is_in_the_checkpoint(tmp_path):
    run(tmp_path, "grpo", steps=8)  # six steps a rollout: the checkpoint after six has nothing left, that after 8 has
    six, eight = (tmp_path / "checkpoints" / f"step-{step:08d}" / "batches.safetensors" for step in (6, 8))
    assert not six.exists()
    assert eight.exists()


def test_without_the_rest_of_the_rollout_it_would_differ(tmp_path):
    """The control: a source of batches that forgets begins a new rollout, and the numbers come out different."""
    whole = run(tmp_path / "whole", "grpo")
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", "grpo", stop_after=10)
    for file in (tmp_path / "cut").rglob("batches.safetensors"):
        file.unlink()
    assert run(tmp_path / "cut", "grpo", resume=True)[1] != whole[1]


def test_a_damaged_rest_is_named(tmp_path):
    run(tmp_path, "grpo", steps=8)
    (tmp_path / "checkpoints" / "step-00000008" / "batches.safetensors").write_bytes(b"{}")
    with pytest.raises(
        CheckpointError, match=r"step-00000008 cannot be read .*remove that folder to go on from step 6"
    ):
        run(tmp_path, "grpo", steps=8, resume=True)


class Counter:
    """Any object will do as a source of batches: here one that counts."""

    def __init__(self):
        self.n = torch.zeros((), dtype=torch.int64)

    def __call__(self, generator):
        self.n = self.n + 1
        return self.n

    def state_dict(self):
        return {"n": self.n}

    def load_state_dict(self, state):
        self.n = state["n"]


def test_any_source_of_batches_may_have_a_state(tmp_path):
    model, seen = torch.nn.Linear(1, 1, bias=False), []

    def loss(model, batch):
        seen.append(int(batch))
        return model.weight.square().sum()

    for steps in (5, 9):
        config = TrainConfig(steps, schedule="constant")
        train(model, Counter(), loss, config, folder=RunFolder(tmp_path, resume=True))
    assert seen == list(range(1, 10))
    assert checkpoint_steps(tmp_path / "checkpoints") == [5, 9]

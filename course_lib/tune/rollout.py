"""Rollouts: completions sampled from the policy, used for one or more steps, with a state that resumes exactly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from course_lib.infer.generation.generate import generate
from course_lib.models.gpt import GPT
from course_lib.nn.storage import device_of
from course_lib.tune.completions import TokenBatch, completion_examples

# Returns the reward of each completion: a RewardModel, or a program that verifies completions.
RewardFn = Callable[[TokenBatch], Float[Tensor, " batch"]]
Module = TypeVar("Module", bound=nn.Module)


class Experience(NamedTuple):
    """A batch of completions sampled from the policy, with their rewards and advantages.

    At each position a token is read and the next one is predicted, as in TokenBatch.

    Attributes:
        ids: Token ids of the prompts with their completions.
        completion_mask: Which tokens belong to completions.
        rewards: One reward for each completion.
        old_logprobs: Log-probabilities of the tokens under the policy that sampled them.
        ref_logprobs: The same under the reference model, which the policy should stay close to.
        advantages: How much better each token turned out than expected.
        returns: The values that the critic should have predicted; None without a critic.
    """

    ids: Int[Tensor, "batch tokens"]
    completion_mask: Bool[Tensor, "batch tokens"]
    rewards: Float[Tensor, " batch"]
    old_logprobs: Float[Tensor, "batch positions"]
    ref_logprobs: Float[Tensor, "batch positions"]
    advantages: Float[Tensor, "batch positions"]
    returns: Float[Tensor, "batch positions"] | None = None

    @property
    def texts(self) -> TokenBatch:
        """The prompts with their completions."""
        return TokenBatch(self.ids, self.completion_mask)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that are not None, by name."""
        return {name: tensor for name, tensor in self._asdict().items() if tensor is not None}

    def map_tensors(self, change: Callable[[Tensor], Tensor]) -> Experience:
        """Apply a function to every tensor, for example to select some of its rows."""
        return self._replace(**{name: change(tensor) for name, tensor in self.tensors().items()})


def frozen_copy(model: Module) -> Module:
    """Copy the model as it is now, frozen and in eval mode, to serve as the reference model.

    Make the copy before `train`, which loads another policy into the model when it resumes a run.
    """
    return copy.deepcopy(model).eval().requires_grad_(False)


def draw_prompts(prompts: Sequence[Sequence[int]], n: int, generator: torch.Generator) -> list[Sequence[int]]:
    """Draw n random prompts with replacement.

    Raises:
        ValueError: If there are no prompts.
    """
    if not prompts:
        raise ValueError("there are no prompts to complete; pass one at least")
    return [prompts[i] for i in torch.randint(len(prompts), (n,), generator=generator).tolist()]


def sample_completions(
    policy: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    generator: torch.Generator,
    eos_token_id: int | None = None,
) -> TokenBatch:
    """Sample a completion of each prompt at temperature 1, the only one at which the policy gradient is right.

    Args:
        policy: The model to sample from.
        prompts: Token ids of each prompt.
        max_new_tokens: The number of tokens at which completions are cut off.
        generator: Random generator on the CPU, whatever the device of the policy.
        eos_token_id: The token that ends a completion; None if nothing does.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    on_device = torch.Generator(device_of(policy)).manual_seed(seed)
    was_training = policy.training
    policy.eval()
    try:
        stop_token_ids = () if eos_token_id is None else (eos_token_id,)
        steps = generate(policy, prompts, max_new_tokens, stop_token_ids=stop_token_ids, generator=on_device)
        completions = [[token for token in row if token is not None] for row in zip(*steps, strict=True)]
    finally:
        policy.train(was_training)
    if policy.config.ends_at_context:  # a reward model has to read the last token too, so it needs a position
        room = [policy.config.context - len(prompt) for prompt in prompts]
        completions = [completion[: max(1, n)] for completion, n in zip(completions, room, strict=True)]
    return completion_examples(prompts, completions).all().to(device_of(policy))


def compute_rewards(reward_fn: RewardFn, texts: TokenBatch) -> Shaped[Tensor, " batch"]:
    """Compute the reward of each completion.

    Raises:
        ValueError: If the reward function does not return exactly one number for each completion.
    """
    rewards = torch.as_tensor(reward_fn(texts), device=texts.ids.device)
    if rewards.shape != texts.ids.shape[:1]:
        raise ValueError(
            f"for {len(texts.ids)} completions the reward function gave rewards of the shape {tuple(rewards.shape)}; "
            "one number is needed for each"
        )
    return rewards


class RolloutBuffer:
    """A source of batches for a policy that learns from its own completions; pass it to `train` as `batches`.

    Each rollout is used for `epochs` epochs of `minibatches` steps, in a new random order each epoch. Then `collect`
    samples the next one. The unused rest of a rollout is part of a checkpoint, so a run can stop between any two steps.

    Args:
        collect: Samples new completions from the current policy.
        epochs: The number of times each rollout is used; with 1, and minibatches=1, every step gets a fresh one.
        minibatches: The number of steps per epoch.
    """

    def __init__(self, collect: Callable[[torch.Generator], Experience], epochs: int = 1, minibatches: int = 1) -> None:
        if epochs < 1 or minibatches < 1:
            raise ValueError(f"epochs ({epochs}) and minibatches ({minibatches}) must be at least 1")
        self.collect = collect
        self.epochs, self.minibatches = epochs, minibatches
        self.experience: Experience | None = None
        self.remaining_rows = torch.empty(0, dtype=torch.int64)  # rows not used yet

    def __call__(self, generator: torch.Generator) -> Experience:
        """Return the next minibatch, sampling a new rollout if the last one is used up.

        Raises:
            ValueError: If the completions cannot be divided equally into minibatches.
        """
        if self.experience is None or not len(self.remaining_rows):
            self.experience = self.collect(generator)
            n = len(self.experience.ids)
            if n % self.minibatches:
                raise ValueError(f"{n} completions cannot be shared equally by {self.minibatches} minibatches")
            self.remaining_rows = torch.cat([torch.randperm(n, generator=generator) for _ in range(self.epochs)])
        size = len(self.experience.ids) // self.minibatches
        rows, self.remaining_rows = self.remaining_rows[:size], self.remaining_rows[size:]
        return self.experience.map_tensors(lambda tensor: tensor[rows.to(tensor.device)])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the rollout and the order of its unused rows; empty between two rollouts."""
        if self.experience is None or not len(self.remaining_rows):
            return {}
        return {"order": self.remaining_rows, **self.experience.tensors()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a state that `state_dict` returned."""
        tensors = dict(state)
        self.remaining_rows = tensors.pop("order", torch.empty(0, dtype=torch.int64))
        self.experience = Experience(**tensors) if tensors else None

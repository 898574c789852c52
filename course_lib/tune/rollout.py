"""Learning from replies of one's own: sampling them, and using each several times in a way that resumes exactly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.infer.generation.generate import generate
from course_lib.models.gpt import GPT
from course_lib.tune.texts import Texts, device, pairs

# The reward of each reply: a RewardModel, or a program that verifies.
Judge = Callable[[Texts], Float[Tensor, " batch"]]
Module = TypeVar("Module", bound=nn.Module)


class Experience(NamedTuple):
    """Replies of the policy, and what became of them; a place is that of a token which foretells the next."""

    ids: Int[Tensor, "batch tokens"]
    learn: Bool[Tensor, "batch tokens"]
    rewards: Float[Tensor, " batch"]
    old: Float[Tensor, "batch places"]  # log-probabilities under the policy that wrote them
    reference: Float[Tensor, "batch places"]  # and under the one that it is to stay close to
    advantages: Float[Tensor, "batch places"]
    returns: Float[Tensor, "batch places"] | None = None  # what a critic should have foretold, where there is one

    @property
    def texts(self) -> Texts:
        """The prompts with their replies."""
        return Texts(self.ids, self.learn)

    def tensors(self) -> dict[str, Tensor]:
        """What there is, by name."""
        return {name: tensor for name, tensor in self._asdict().items() if tensor is not None}

    def each(self, change: Callable[[Tensor], Tensor]) -> Experience:
        """The same after a change of every tensor, such as a choice of rows."""
        return self._replace(**{name: change(tensor) for name, tensor in self.tensors().items()})


def frozen_copy(model: Module) -> Module:
    """A copy that stays as the model is now: the reference.

    It is made before `train`, which puts another policy into the model when it goes on with a run.
    """
    return copy.deepcopy(model).eval().requires_grad_(False)


def draw(prompts: Sequence[Sequence[int]], n: int, generator: torch.Generator) -> list[Sequence[int]]:
    """n of the prompts, each equally likely at every draw. Raises ValueError where there are none."""
    if not prompts:
        raise ValueError("there are no prompts to reply to; pass one at least")
    return [prompts[i] for i in torch.randint(len(prompts), (n,), generator=generator).tolist()]


def sample(
    policy: GPT,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    generator: torch.Generator,
    end: int | None = None,
) -> Texts:
    """A reply to each prompt, drawn from the policy as it is, without temperature: only so are its gradients right.

    A reply ends with the token `end`, or is cut off after max_new_tokens. generator: of the CPU, whatever the device.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    own = torch.Generator(device(policy)).manual_seed(seed)
    replies: list[list[int]] = [[] for _ in prompts]
    was_training = policy.training
    policy.eval()
    try:
        for step in generate(policy, prompts, max_new_tokens, stop=() if end is None else (end,), generator=own):
            for reply, token in zip(replies, step, strict=True):
                if token is not None:
                    reply.append(token)
    finally:
        policy.train(was_training)
    if policy.config.position == "learned":  # a judge has to read the last token too, so it needs a position
        places = [policy.config.context - len(prompt) for prompt in prompts]
        replies = [reply[: max(1, n)] for reply, n in zip(replies, places, strict=True)]
    return pairs(prompts, replies).all().to(device(policy))


def judged(judge: Judge, texts: Texts) -> Tensor:
    """The reward of each reply. Raises ValueError where the judge gives anything but one number for each."""
    rewards = torch.as_tensor(judge(texts), device=texts.ids.device)
    if rewards.shape != texts.ids.shape[:1]:
        raise ValueError(
            f"for {len(texts.ids)} replies the judge gave rewards of the shape {tuple(rewards.shape)}; one number is "
            "needed for each"
        )
    return rewards


class Replay:
    """The batches of a run that learns from its own replies, to be passed to `train`.

    collect(generator) writes new replies with the policy of that moment; each is then learned from `epochs` times, in
    `minibatches` steps an epoch, in a new order every time. With one of each every step has replies of its own.
    What is left of a rollout is part of the state of a run, so that it can be stopped between any two steps.
    """

    def __init__(self, collect: Callable[[torch.Generator], Experience], epochs: int = 1, minibatches: int = 1) -> None:
        if epochs < 1 or minibatches < 1:
            raise ValueError(f"epochs ({epochs}) and minibatches ({minibatches}) must be at least 1")
        self.collect = collect
        self.epochs, self.minibatches = epochs, minibatches
        self.experience: Experience | None = None
        self.order = torch.empty(0, dtype=torch.int64)  # the rows that are still to be learned from

    def __call__(self, generator: torch.Generator) -> Experience:
        """The next minibatch. Raises ValueError for replies that cannot be shared equally by the minibatches."""
        if self.experience is None or not len(self.order):
            self.experience = self.collect(generator)
            n = len(self.experience.ids)
            if n % self.minibatches:
                raise ValueError(f"{n} replies cannot be shared equally by {self.minibatches} minibatches")
            self.order = torch.cat([torch.randperm(n, generator=generator) for _ in range(self.epochs)])
        size = len(self.experience.ids) // self.minibatches
        now, self.order = self.order[:size], self.order[size:]
        return self.experience.each(lambda tensor: tensor[now.to(tensor.device)])

    def state_dict(self) -> dict[str, Tensor]:
        """What is left of the rollout; nothing between two."""
        if self.experience is None or not len(self.order):
            return {}
        return {"order": self.order, **self.experience.tensors()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with it."""
        tensors = dict(state)
        self.order = tensors.pop("order", torch.empty(0, dtype=torch.int64))
        self.experience = Experience(**tensors) if tensors else None

"""Direct preference optimisation (Rafailov et al. 2023): training the policy directly on comparisons, without sampling.

The best policy for a reward r, with a penalty of beta per nat of KL divergence from a reference, is pi(y | x)
proportional to pi_ref(y | x) exp(r(x, y) / beta) (equation 4). Conversely, any policy is the best one for the reward
beta log(pi / pi_ref), up to a term that depends on the prompt alone (equation 5). That term cancels between two
completions (equation 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.models.gpt import GPT
from course_lib.train.losses import Loss
from course_lib.tune.completions import TokenBatch, completion_logprobs
from course_lib.tune.reward import (
    PreferenceBatch,
    PreferencePairs,
    bradley_terry_loss,
    margin_metrics,
    preference_examples,
)
from course_lib.tune.rollout import RewardFn, compute_rewards, draw_prompts, sample_completions


def sample_preferences(
    policy: GPT,
    prompts: Sequence[Sequence[int]],
    reward_fn: RewardFn,
    n: int,
    generator: torch.Generator,
    *,
    max_new_tokens: int,
    eos_token_id: int | None = None,
    n_annotators: int = 1,
) -> PreferencePairs:
    """Sample pairs of completions from a policy, and for each pair the preferred one, by Bradley and Terry's model.

    Args:
        policy: The model to sample from.
        prompts: Token ids of the prompts to draw from.
        reward_fn: What people think of each completion.
        n: The number of pairs.
        generator: Random generator on the CPU, for prompts, completions and answers.
        max_new_tokens: The number of tokens at which completions are cut off.
        eos_token_id: The token that ends a completion; None if nothing does.
        n_annotators: The number of people who are asked about each pair; each answer is one row of the result.
    """
    drawn = draw_prompts(prompts, n, generator)
    twice = [prompt for prompt in drawn for _ in range(2)]
    texts = sample_completions(policy, twice, max_new_tokens, generator, eos_token_id)
    first, second = compute_rewards(reward_fn, texts).view(n, 2).T.cpu().repeat(1, n_annotators)
    uniform = torch.rand(n * n_annotators, generator=generator)
    # The second is preferred with probability 1 - sigma(first - second).
    swapped = (uniform.log() > F.logsigmoid(first - second)).tolist()
    completions = [texts.completions()[i::2] * n_annotators for i in (0, 1)]
    both = list(zip(*completions, swapped, strict=True))
    chosen = [b if swap else a for a, b, swap in both]
    rejected = [a if swap else b for a, b, swap in both]
    return preference_examples(drawn * n_annotators, chosen, rejected)


class IterativeBatches:
    """A source of batches for iterative DPO: each batch is used `times` times in a row, and then never again.

    So `next_batch` can sample every batch from the policy as it is by then. The number of steps done and the batch in
    use are part of a checkpoint, so a run can stop between any two steps.

    Args:
        next_batch: Returns the batch of a turn, from its number (0, 1, ...) and a generator.
        times: The number of steps that a batch is used for.
    """

    def __init__(self, next_batch: Callable[[int, torch.Generator], PreferenceBatch], times: int) -> None:
        if times < 1:
            raise ValueError(f"times={times} must be at least 1")
        self.next_batch, self.times = next_batch, times
        self.steps = 0
        self.batch: PreferenceBatch | None = None

    def __call__(self, generator: torch.Generator) -> PreferenceBatch:
        """Return the batch of the next step, which is a new one at the beginning of a turn."""
        if self.batch is None or self.steps % self.times == 0:
            self.batch = self.next_batch(self.steps // self.times, generator)
        self.steps += 1
        return self.batch

    def state_dict(self) -> dict[str, Tensor]:
        """Return the number of steps done, and the batch if its turn is not over."""
        state = {"steps": torch.tensor(self.steps)}
        if self.batch is not None and self.steps % self.times:
            texts, ref_logprobs = self.batch
            state |= texts._asdict()
            if ref_logprobs is not None:
                state["ref_logprobs"] = ref_logprobs
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a state that `state_dict` returned."""
        self.steps = int(state["steps"])
        self.batch = None
        if "ids" in state:
            texts = TokenBatch(state["ids"], state["completion_mask"])
            self.batch = PreferenceBatch(texts, state.get("ref_logprobs"))


@torch.no_grad()
def with_ref_logprobs(pairs: PreferencePairs, model: nn.Module, batch_size: int = 64) -> PreferencePairs:
    """Add to pairs of completions the log-probabilities of both completions under the reference model.

    Since that model never changes, they are computed once, and no second model has to be kept during training. They are
    computed in the current precision: for a run in bf16, call this under autocast too. Otherwise policy and reference
    differ by rounding from the start.

    Args:
        pairs: Pairs of completions, as from `course_lib.tune.reward.preference_examples`.
        model: The reference model, usually the policy before it is trained.
        batch_size: The number of pairs to compute at a time.

    Returns:
        A copy of the pairs with `ref_logprobs`.
    """
    rows = [
        torch.stack(completion_logprobs(model, pairs[which].texts).sum(dim=1).chunk(2), dim=1)  # (pairs, 2)
        for which in torch.arange(len(pairs)).split(batch_size)
    ]
    return replace(pairs, ref_logprobs=torch.cat(rows))


def implicit_rewards(
    model: nn.Module, batch: PreferenceBatch, beta: float
) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """Compute the implicit reward, beta log(pi(y | x) / pi_ref(y | x)), of chosen and rejected completions.

    Raises:
        ValueError: If the pairs do not hold the reference's log-probabilities.

    Source: Rafailov et al. 2023, section 4, after equation 7.
    """
    if batch.ref_logprobs is None:
        raise ValueError("the pairs have no reference; pass them through with_ref_logprobs(pairs, model)")
    chosen, rejected = completion_logprobs(model, batch.texts).sum(dim=1).chunk(2)  # (pairs,) each
    ref_chosen, ref_rejected = batch.ref_logprobs.to(chosen.device).unbind(dim=1)
    return beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)


def dpo_loss(model: nn.Module, batch: PreferenceBatch, beta: float = 0.1) -> Loss:
    """Compute -log sigma(implicit reward of the chosen completion - that of the rejected one), in nats.

    It is ln 2 as long as the policy equals the reference. Its metrics are those of
    `course_lib.tune.reward.margin_metrics` for the implicit rewards.

    Args:
        model: The policy.
        batch: Pairs from `with_ref_logprobs`.
        beta: The KL coefficient: how strongly distance from the reference is penalised.

    Source: Rafailov et al. 2023, equation 7.
    """
    rewards = implicit_rewards(model, batch, beta)  # (pairs,) each
    losses = bradley_terry_loss(*rewards)  # (pairs,)
    return Loss(losses.sum(), len(losses), margin_metrics(*rewards))

"""Proximal policy optimisation (Schulman et al. 2017) of a language model.

As in Ziegler et al. 2019 and Ouyang et al. 2022: the policy (the actor) writes completions; a reward model scores each;
a critic predicts, at every token, the reward still to come; and training raises the probability of tokens that
turned out better than the critic predicted. The steps are functions, in the order in which they are used:

    sample completions -> rewards, one a token -> advantages -> clipped objective

What TRL's PPOTrainer (version 1, experimental) has besides: it clips the change of the critic too, and weighs the
critic's squared error by 0.05, where ours is 0.5. It can whiten rewards, penalise completions that do not end, and put
k3 in the place of k1 into the reward. It samples at a temperature (0.7 by default), by which it divides the logits of
the loss too; ours is 1. Neither of them adapts beta to a target KL, as Ziegler et al. did.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.models.gpt import GPT
from course_lib.nn.storage import device_of
from course_lib.train.losses import Loss
from course_lib.tune.completions import TokenBatch, completion_logprobs, token_logprobs
from course_lib.tune.kl import k3
from course_lib.tune.reward import RewardModel
from course_lib.tune.rollout import Experience, RewardFn, compute_rewards, draw_prompts, sample_completions


class ActorCritic(nn.Module):
    """The policy, and a critic with separate weights that predicts the reward of a completion from its tokens so far.

    Args:
        actor: The policy.
        critic: A RewardModel, best a trained one, whose scores at all tokens are used.

    Source: Stiennon et al. 2020, section 3.4.
    """

    def __init__(self, actor: GPT, critic: RewardModel) -> None:
        super().__init__()
        self.config = actor.config
        self.actor = actor
        self.critic = critic

    def forward(
        self, texts: TokenBatch
    ) -> tuple[Float[Tensor, "batch positions vocab"], Float[Tensor, "batch positions"]]:
        """Compute the logits of the next token, and the value of the text so far, at each position."""
        return self.actor(texts.inputs), self.critic.scores(texts.inputs)


@torch.no_grad()
def ppo_rollout(
    model: ActorCritic,
    ref_model: nn.Module,
    prompts: Sequence[Sequence[int]],
    reward_fn: RewardFn,
    generator: torch.Generator,
    *,
    n_prompts: int,
    max_new_tokens: int,
    eos_token_id: int | None = None,
    beta: float = 0.05,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> Experience:
    """Sample completions, and compute the advantage of each token and the value that the critic should have predicted.

    For a RolloutBuffer: `partial(ppo_rollout, model, ref_model, prompts, reward_fn, n_prompts=64, max_new_tokens=20)`.

    Args:
        model: The policy and its critic.
        ref_model: The model that the policy should stay close to, usually a frozen copy of it from before the run.
        prompts: Token ids of the prompts to draw from.
        reward_fn: Returns one number for each completion.
        generator: Random generator on the CPU, for prompts and completions.
        n_prompts: The number of prompts to draw, with one completion each.
        max_new_tokens: The number of tokens at which completions are cut off.
        eos_token_id: The token that ends a completion; None if nothing does.
        beta: The KL coefficient: how strongly distance from the reference is penalised.
        gamma: The discount factor per token.
        lam: The lambda of generalised advantage estimation; see `gae`.
    """
    drawn = draw_prompts(prompts, n_prompts, generator)
    texts = sample_completions(model.actor, drawn, max_new_tokens, generator, eos_token_id)
    mask = texts.target_mask  # (batch, positions)
    logits, values = model(texts)  # (batch, positions, vocab), (batch, positions)
    old_logprobs = token_logprobs(logits, texts.targets)  # (batch, positions)
    ref_logprobs = completion_logprobs(ref_model, texts)  # (batch, positions)
    scores = compute_rewards(reward_fn, texts).to(old_logprobs)  # (batch,)
    token_rewards = kl_penalised_rewards(scores, old_logprobs, ref_logprobs, mask, beta)  # (batch, positions)
    advantages = gae(token_rewards, values, mask, gamma, lam)  # (batch, positions)
    # Advantages only steer the policy: whitened, they make steps of the same size whatever the unit of the rewards.
    # Returns are what the critic should predict, and `gae` adds its values to rewards, so they stay in that unit.
    return Experience(
        *texts,
        rewards=scores,
        old_logprobs=old_logprobs,
        ref_logprobs=ref_logprobs,
        advantages=masked_whiten(advantages, mask),
        returns=(advantages + values) * mask,
    )


def kl_penalised_rewards(
    scores: Float[Tensor, " batch"],
    old_logprobs: Float[Tensor, "batch positions"],
    ref_logprobs: Float[Tensor, "batch positions"],
    mask: Bool[Tensor, "batch positions"],
    beta: float,
) -> Float[Tensor, "batch positions"]:
    """Compute the reward of every token: -beta log(pi / pi_ref), plus the score at the last token of a completion.

    Over a completion, these rewards sum to r(x, y) - beta log(pi(y | x) / pi_ref(y | x)).

    Source: Ziegler et al. 2019, equation 2.
    """
    is_last = mask & ~torch.cat((mask[:, 1:], torch.zeros_like(mask[:, :1])), dim=1)
    return (scores[:, None] * is_last - beta * (old_logprobs - ref_logprobs)) * mask


def gae(
    rewards: Float[Tensor, "batch positions"],
    values: Float[Tensor, "batch positions"],
    mask: Bool[Tensor, "batch positions"],
    gamma: float = 1.0,
    lam: float = 0.95,
) -> Float[Tensor, "batch positions"]:
    """Compute advantages by generalised advantage estimation: the sum over l of (gamma lam)^l delta_(t+l).

    The sum runs to the end of the completion. Here delta_t = r_t + gamma V_(t+1) - V_t, with V = 0 after the last
    token. lam = 0 gives delta itself; lam = 1 gives the sum of the rewards to come, discounted by gamma, minus V.
    Advantages are 0 outside the mask.

    Source: Schulman et al. 2017, equations 11 and 12.
    """
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])  # (batch,)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantages[:, t] = (delta + gamma * lam * next_advantage) * mask[:, t]
        next_value, next_advantage = values[:, t] * mask[:, t], advantages[:, t]
    return advantages


def masked_whiten(
    x: Float[Tensor, "batch positions"], mask: Bool[Tensor, "batch positions"]
) -> Float[Tensor, "batch positions"]:
    """Shift and scale x to mean 0 and variance 1 over the mask, and set it to 0 elsewhere."""
    inside = x[mask]
    return (x - inside.mean()) / (inside.std(correction=0) + 1e-8) * mask


def clipped_surrogate(
    new_logprobs: Float[Tensor, "batch positions"],
    old_logprobs: Float[Tensor, "batch positions"],
    advantages: Float[Tensor, "batch positions"],
    clip_range: float,
) -> Float[Tensor, "batch positions"]:
    """Compute min(ratio A, clip(ratio, 1 - clip_range, 1 + clip_range) A), where ratio = pi(token) / pi_old(token).

    Once a token's probability has changed by more than this share, in the direction that its advantage asks for, the
    objective stays constant, and the token's gradient is 0.

    Source: Schulman et al. 2017, equation 7.
    """
    ratio = (new_logprobs - old_logprobs).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)


def ppo_loss(
    model: nn.Module, batch: Experience, clip_range: float = 0.2, value_coef: float = 0.5, entropy_coef: float = 0.0
) -> Loss:
    """Compute -(clipped surrogate - value_coef (V - return)^2 + entropy_coef H), averaged over completions' tokens.

    H is the entropy, in nats, of the policy's next token. An entropy bonus is unusual beside a penalty on the distance
    from a reference, so its default weight is 0.

    Its metrics are those of `policy_metrics`.

    Args:
        model: An ActorCritic.
        batch: Completions from `ppo_rollout`.
        clip_range: How far the probability ratio may move from 1 before its gradient stops.
        value_coef: The weight of the critic's squared error.
        entropy_coef: The weight of the entropy.

    Source: Schulman et al. 2017, equation 9.
    """
    batch = batch.map_tensors(lambda tensor: tensor.to(device_of(model)))
    mask = batch.texts.target_mask  # (batch, positions)
    logits, values = model(batch.texts)  # (batch, positions, vocab), (batch, positions)
    new_logprobs = token_logprobs(logits, batch.texts.targets)  # (batch, positions)
    objective = clipped_surrogate(new_logprobs, batch.old_logprobs, batch.advantages, clip_range)
    objective = objective - value_coef * (values - batch.returns).square()
    if entropy_coef:
        logprobs = logits.log_softmax(dim=-1)
        objective = objective - entropy_coef * (logprobs.exp() * logprobs).sum(dim=-1)
    return Loss(-(objective * mask).sum(), mask.sum(), policy_metrics(new_logprobs, batch, clip_range))


@torch.no_grad()
def policy_metrics(
    new_logprobs: Float[Tensor, "batch positions"], batch: Experience, clip_range: float
) -> dict[str, Float[Tensor, ""]]:
    """Compute what tells whether a policy learns from rewards or comes apart; nothing that takes a forward pass.

    The first and the last are means over completions, the others over their tokens:

    * reward: the reward.
    * kl: the distance from the reference, in nats per token, estimated as in `course_lib.tune.kl.k3`. If it rises
      without end, the policy leaves the language of the reference; the reward may rise all the while.
    * clip_fraction: the share of tokens whose gradient the clip has set to 0: none in the first step on a rollout. If
      it is large, steps are too large, or each rollout is used too often.
    * entropy: that of the policy's next token, in nats, estimated by -log pi(token). Near 0, all completions of a
      prompt are alike, and there is nothing left to learn from.
    * length: the number of tokens.

    The two estimates are exact on average only for the policy that sampled the tokens; later steps on the same rollout
    are off a little.

    Args:
        new_logprobs: Log-probabilities of the tokens under the policy as it is now.
        batch: The completions.
        clip_range: As in `clipped_surrogate`.
    """
    mask = batch.texts.target_mask  # (batch, positions)
    ratio = (new_logprobs - batch.old_logprobs).exp()
    up, down = batch.advantages > 0, batch.advantages < 0
    clipped = (up & (ratio > 1 + clip_range)) | (down & (ratio < 1 - clip_range))

    def mean_over_tokens(x: Tensor) -> Tensor:
        return (x * mask).sum() / mask.sum()

    return {
        "reward": batch.rewards.mean(),
        "kl": mean_over_tokens(k3(new_logprobs, batch.ref_logprobs)),
        "clip_fraction": mean_over_tokens(clipped),
        "entropy": mean_over_tokens(-new_logprobs),
        "length": mask.sum() / len(mask),
    }

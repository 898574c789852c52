"""Proximal policy optimisation (Schulman et al. 2017) of a language model.

As in Ziegler et al. 2019 and Ouyang et al. 2022, a policy writes replies; a judge rewards each; a critic learns to
foretell, at every token, the reward still to come; and the policy makes those tokens likelier after which things went
better than foretold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.models.gpt import GPT
from course_lib.train.losses import Loss
from course_lib.tune.reward import RewardModel
from course_lib.tune.rollout import Experience, Judge, draw, judged, sample
from course_lib.tune.texts import Texts, chosen, device, log_probabilities


class ActorCritic(nn.Module):
    """The policy, and a model of its own that foretells what a reply will be worth.

    critic: a RewardModel, best one that was trained, whose numbers at all tokens are used (Stiennon et al. 2020,
    section 3.4).
    """

    def __init__(self, actor: GPT, critic: RewardModel) -> None:
        super().__init__()
        self.config = actor.config
        self.actor = actor
        self.critic = critic

    def forward(self, texts: Texts) -> tuple[Float[Tensor, "batch places vocab"], Float[Tensor, "batch places"]]:
        """Logits of the next token, and the value of the text so far, at every token but the last."""
        return self.actor(texts.ids[:, :-1]), self.critic.scores(texts.ids[:, :-1])


def penalised(
    scores: Float[Tensor, " batch"],
    old: Float[Tensor, "batch places"],
    reference: Float[Tensor, "batch places"],
    learn: Bool[Tensor, "batch places"],
    beta: float,
) -> Float[Tensor, "batch places"]:
    """A reward for every token: the judge's for the last of a reply, less beta log(pi / pi_ref) for each.

    Summed over a reply that is r(x, y) - beta log(pi(y | x) / pi_ref(y | x)). Source: Ziegler et al. 2019, equation 2.
    """
    last = learn & ~torch.cat((learn[:, 1:], torch.zeros_like(learn[:, :1])), dim=1)
    return (scores[:, None] * last - beta * (old - reference)) * learn


def gae(
    rewards: Float[Tensor, "batch places"],
    values: Float[Tensor, "batch places"],
    learn: Bool[Tensor, "batch places"],
    gamma: float = 1.0,
    lam: float = 0.95,
) -> Float[Tensor, "batch places"]:
    """Generalised advantage estimation: the sum of (gamma lam)^l delta_(t+l), to the end of the reply; 0 outside of it.

    delta_t = r_t + gamma V_(t+1) - V_t, with V = 0 behind the last token. lam = 0 is delta itself, lam = 1 all the
    rewards to come, less V. Source: Schulman et al. 2017, equations 11 and 12.
    """
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantages[:, t] = (delta + gamma * lam * next_advantage) * learn[:, t]
        next_value, next_advantage = values[:, t] * learn[:, t], advantages[:, t]
    return advantages


def whitened(x: Float[Tensor, "batch places"], where: Bool[Tensor, "batch places"]) -> Float[Tensor, "batch places"]:
    """x with mean 0 and variance 1 over the places where it counts, and 0 elsewhere."""
    inside = x[where]
    return (x - inside.mean()) / (inside.std(correction=0) + 1e-8) * where


@torch.no_grad()
def collect(
    model: ActorCritic,
    reference: nn.Module,
    prompts: Sequence[Sequence[int]],
    judge: Judge,
    generator: torch.Generator,
    *,
    n: int,
    max_new_tokens: int,
    end: int | None = None,
    beta: float = 0.05,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> Experience:
    """Replies to n of the prompts, with the advantage of each token and what the critic should have said.

    beta: the price of a nat of distance from the reference. For Replay: partial(collect, model, ..., n=64, ...).
    """
    texts = sample(model.actor, draw(prompts, n, generator), max_new_tokens, generator, end)
    logits, values = model(texts)
    learn = texts.learn[:, 1:]
    old, fixed = chosen(logits, texts.targets), log_probabilities(reference, texts)
    scores = judged(judge, texts).to(old)
    advantages = gae(penalised(scores, old, fixed, learn, beta), values, learn, gamma, lam)
    returns = (advantages + values) * learn
    return Experience(*texts, scores, old, fixed, whitened(advantages, learn), returns)


def clipped(
    new: Float[Tensor, "batch places"],
    old: Float[Tensor, "batch places"],
    advantages: Float[Tensor, "batch places"],
    clip: float,
) -> Float[Tensor, "batch places"]:
    """min(ratio A, clip(ratio, 1 - clip, 1 + clip) A), where ratio = pi(token) / pi_old(token), from their logarithms.

    Once a token has become likelier (or less likely) by that share, in the direction that its advantage asks for, there
    is nothing more to gain, and its gradient is 0. Source: Schulman et al. 2017, equation 7.
    """
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def ppo(model: nn.Module, batch: Experience, clip: float = 0.2, value: float = 0.5, entropy: float = 0.0) -> Loss:
    """Minus (the clipped objective - value (V - return)^2 + entropy H), a mean over the tokens of the replies.

    H: the entropy, in nats, of the policy's next token; to ask for it, beside a penalty on the distance from a
    reference, is not usual. model: an ActorCritic. Source: Schulman et al. 2017, equation 9.
    """
    batch = batch.each(lambda tensor: tensor.to(device(model)))
    learn = batch.learn[:, 1:]
    logits, values = model(batch.texts)
    objective = clipped(chosen(logits, batch.texts.targets), batch.old, batch.advantages, clip)
    objective = objective - value * (values - batch.returns).square()
    if entropy:
        logs = logits.log_softmax(dim=-1)
        objective = objective - entropy * (logs.exp() * logs).sum(dim=-1)
    return Loss(-(objective * learn).sum(), learn.sum())

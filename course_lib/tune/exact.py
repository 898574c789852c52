"""Exact results over all completions of a small vocabulary, without sampling: what a policy does, and the best policy.

A completion ends with an end token or is cut off at the greatest length. So completions are the leaves of a tree, and a
policy is a distribution over the next token at each node of the tree.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.nn.storage import device_of
from course_lib.tune.completions import TokenBatch, completion_examples

Nodes = list[Float[Tensor, "prompts _ tokens"]]  # log p(next token) in each context of 0, then 1, 2 ... words


@dataclass(frozen=True)
class CompletionTree:
    """The tree of all completions of at most `longest` words, where words are the tokens 0 to n_words - 1.

    The token n_words ends a completion. Completions come in the same order everywhere: those that end after 0, 1, 2 ...
    words, then those that are cut off.
    """

    n_words: int
    longest: int

    def all(self) -> list[list[int]]:
        """Return every completion as token ids."""
        words = range(self.n_words)
        ended = [[*said, self.n_words] for t in range(self.longest) for said in itertools.product(words, repeat=t)]
        return ended + [list(said) for said in itertools.product(words, repeat=self.longest)]

    def texts(self, prompt: Sequence[int]) -> TokenBatch:
        """Return all completions of a prompt as a batch, in the form that a reward function takes."""
        every = self.all()
        return completion_examples([prompt] * len(every), every).all()

    @torch.no_grad()
    def node_logprobs(self, model: nn.Module, prompts: Sequence[Sequence[int]]) -> Nodes:
        """Compute a decoder's log-probabilities of the next token at each node.

        Args:
            model: A decoder that is called with ids.
            prompts: Token ids of the prompts, all of the same length.
        """
        deepest = torch.tensor(list(itertools.product(range(self.n_words), repeat=self.longest - 1)), dtype=torch.int64)
        start = torch.tensor([list(prompt) for prompt in prompts])
        ids = torch.cat((start.repeat_interleave(len(deepest), 0), deepest.repeat(len(start), 1)), 1).to(
            device_of(model)
        )  # prompts*deepest prompt_tokens+longest-1
        logits = model(ids)[:, start.shape[1] - 1 :, : self.n_words + 1].float().cpu()
        logprobs = logits.double().log_softmax(-1).view(len(start), len(deepest), self.longest, -1)
        # Contexts that agree in their first t words lie next to each other and have the same node there: one is taken.
        return [logprobs[:, :: self.n_words ** (self.longest - 1 - t), t] for t in range(self.longest)]

    def policy(self, model: nn.Module, prompts: Sequence[Sequence[int]]) -> Float[Tensor, "prompts completions"]:
        """Compute a decoder's log p(completion | prompt) of every completion; arguments as for `node_logprobs`."""
        return self.completion_logprobs(self.node_logprobs(model, prompts))

    def rewards(
        self, reward_fn: Callable[[Tensor, Tensor], Tensor], prompts: Sequence[Sequence[int]]
    ) -> Float[Tensor, "prompts completions"]:
        """Compute the reward of every completion, from a function of token ids and completion mask."""
        return torch.stack([reward_fn(*self.texts(prompt)) for prompt in prompts]).double()

    def found_in(self, texts: TokenBatch, prompts: Sequence[Sequence[int]]) -> Bool[Tensor, "prompts completions"]:
        """Mark the completions that some texts hold, each with its prompt."""
        places = {tuple(reply): i for i, reply in enumerate(self.all())}
        rows = {tuple(prompt): i for i, prompt in enumerate(prompts)}
        found = torch.zeros(len(rows), len(places), dtype=torch.bool)
        length = len(prompts[0])
        for ids, reply in zip(texts.ids.tolist(), texts.completions(), strict=True):
            found[rows[tuple(ids[:length])], places[tuple(reply)]] = True
        return found

    def completion_logprobs(self, nodes: Nodes) -> Float[Tensor, "prompts completions"]:
        """Compute log p(completion | prompt) of every completion from the log-probabilities at the nodes."""
        reach, ended = torch.zeros_like(nodes[0][..., 0]), []  # reach: log p(the words so far), prompts n_words^t
        for logprobs in nodes:
            ended.append(reach + logprobs[..., self.n_words])
            reach = (reach[..., None] + logprobs[..., : self.n_words]).flatten(1)
        return torch.cat([*ended, reach], dim=1)

    def backward_induction(
        self,
        reference: Nodes,
        rewards: Float[Tensor, "prompts completions"],
        choose: Callable[[Tensor, Tensor], Tensor],
    ) -> Nodes:
        """Compute the policy that follows `choose` at each node, by backward induction.

        The last nodes come first, so that the expected reward after each token is known where `choose` needs it.

        Args:
            reference: Log-probabilities of the reference policy at each node.
            rewards: The reward of every completion.
            choose: Maps the reference's log-probabilities of the next token, and the expected reward after each token,
                to the policy's log-probabilities.

        Returns:
            The policy's log-probabilities of the next token at each node.
        """
        sizes = [self.n_words**t for t in range(self.longest + 1)]
        *ended, value = rewards.split(sizes, dim=1)
        nodes: Nodes = []
        for t in reversed(range(self.longest)):
            expected = torch.cat((value.view(len(value), -1, self.n_words), ended[t][..., None]), dim=2)
            nodes.insert(0, choose(reference[t], expected))
            value = (nodes[0].exp() * expected).sum(-1)
        return nodes


def reward_ceiling(
    kl: float,
    reference: Float[Tensor, "prompts completions"],
    rewards: Float[Tensor, "prompts completions"],
    betas: Sequence[float],
) -> float:
    """Compute a mean reward that no policy at this KL divergence from the reference exceeds.

    Whatever beta is, reward <= beta KL + beta log Z, with Z the normaliser of ref exp(r / beta).

    Args:
        kl: The mean KL divergence of the policy from the reference over the prompts.
        reference: Log-probabilities of the reference policy.
        rewards: The reward of every completion.
        betas: The values of beta to try; the least of their limits is returned.
    """
    return min(beta * (kl + (reference + rewards / beta).logsumexp(-1).mean().item()) for beta in betas)


def forward_kl_policy(
    reference: Float[Tensor, "*batch options"], rewards: Float[Tensor, "*batch options"], beta: float
) -> Float[Tensor, "*batch options"]:
    """Compute the best policy for E[r] - beta KL(ref, pi), with the forward divergence: beta ref / (c - r).

    Bisection finds the c > max r for which the policy sums to 1. There the gradient of the reward, pi (r - E r), and
    that of the penalty, beta (ref - pi), cancel.

    Args:
        reference: Log-probabilities of the reference policy.
        rewards: The reward of each option.
        beta: The KL coefficient: how strongly distance from the reference is penalised.

    Returns:
        Log-probabilities of the best policy.
    """
    # All in logarithms, since the best option may be as unlikely as e^-700.
    behind = (rewards.amax(-1, keepdim=True) - rewards).log()

    def policy(above: Tensor) -> Tensor:  # given log(c - max r)
        return math.log(beta) + reference - torch.logaddexp(behind, above)

    # At c - max r = beta the sum is at most 1; at beta times ref of the best option, that option alone makes it 1.
    high = torch.full_like(behind[..., :1], math.log(beta))
    low = high + reference.where(behind == -math.inf, -math.inf).amax(-1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        too_small = policy(middle).logsumexp(-1, keepdim=True) > 0
        low, high = torch.where(too_small, middle, low), torch.where(too_small, high, middle)
    return policy(high).log_softmax(-1)

"""All completions of a small vocabulary, one by one: what a policy does, and the best that it could, without sampling.

A completion ends with a token of its own or is cut off at its longest. So completions are the leaves of a tree, and a
policy is a distribution over the next token at each of its nodes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.tune.completions import TokenBatch, completion_examples, device_of

Nodes = list[Float[Tensor, "prompts _ tokens"]]  # log p(next token) in each context of 0, then 1, 2 ... words


@dataclass(frozen=True)
class CompletionTree:
    """All completions of at most `longest` of the tokens 0 .. n_words - 1; the token n_words ends a completion.

    They come in one order everywhere: those that ended after 0, 1, 2 ... words, then those that were cut off.
    """

    n_words: int
    longest: int

    def all(self) -> list[list[int]]:
        """Every completion, as token ids."""
        words = range(self.n_words)
        ended = [[*said, self.n_words] for t in range(self.longest) for said in itertools.product(words, repeat=t)]
        return ended + [list(said) for said in itertools.product(words, repeat=self.longest)]

    def texts(self, prompt: Sequence[int]) -> TokenBatch:
        """All completions to a prompt, as a reward function reads them."""
        every = self.all()
        return completion_examples([prompt] * len(every), every).all()

    @torch.no_grad()
    def node_logprobs(self, model: nn.Module, prompts: Sequence[Sequence[int]]) -> Nodes:
        """A decoder's log-probabilities of the next token at each node.

        Args:
            model: called with ids.
            prompts: token ids; all prompts have the same length.
        """
        deepest = torch.tensor(list(itertools.product(range(self.n_words), repeat=self.longest - 1)), dtype=torch.int64)
        start = torch.tensor([list(prompt) for prompt in prompts])
        ids = torch.cat((start.repeat_interleave(len(deepest), 0), deepest.repeat(len(start), 1)), 1).to(
            device_of(model)
        )
        logits = model(ids)[:, start.shape[1] - 1 :, : self.n_words + 1].float().cpu()
        logs = logits.double().log_softmax(-1).view(len(start), len(deepest), self.longest, -1)
        return [logs[:, :: self.n_words ** (self.longest - 1 - t), t] for t in range(self.longest)]

    def completion_logprobs(self, nodes: Nodes) -> Float[Tensor, "prompts completions"]:
        """log p(completion | prompt) of every completion, from the log-probabilities at the nodes."""
        reach, ended = torch.zeros_like(nodes[0][..., 0]), []
        for logs in nodes:
            ended.append(reach + logs[..., self.n_words])
            reach = (reach[..., None] + logs[..., : self.n_words]).flatten(1)
        return torch.cat([*ended, reach], dim=1)

    def backward_induction(
        self,
        reference: Nodes,
        rewards: Float[Tensor, "prompts completions"],
        choose: Callable[[Tensor, Tensor], Tensor],
    ) -> Nodes:
        """The policy that decides by `choose` at each node, last nodes first, so that it knows what a choice is worth.

        Args:
            reference: log-probabilities of the reference policy at each node.
            rewards: of every completion.
            choose: makes the policy's log-probabilities of the next token from the reference's and from the expected
                reward after each token.

        Returns:
            Its log-probabilities of the next token at each node.
        """
        sizes = [self.n_words**t for t in range(self.longest + 1)]
        *ended, value = rewards.split(sizes, dim=1)
        nodes: Nodes = []
        for t in reversed(range(self.longest)):
            expected = torch.cat((value.view(len(value), -1, self.n_words), ended[t][..., None]), dim=2)
            nodes.insert(0, choose(reference[t], expected))
            value = (nodes[0].exp() * expected).sum(-1)
        return nodes


def forward_kl_policy(
    reference: Float[Tensor, "*batch options"], rewards: Float[Tensor, "*batch options"], beta: float
) -> Float[Tensor, "*batch options"]:
    """The best policy for E[r] - beta KL(ref, pi), the forward divergence: log of beta ref / (c - r).

    The c > max r for which it sums to 1 is found by bisection. There the gradient of the reward, pi (r - E r), and that
    of the price, beta (ref - pi), cancel.

    Args:
        reference: log-probabilities of the reference policy.
        rewards: of each option.
        beta: the KL coefficient: how strongly distance from the reference is penalised.

    Returns:
        Log-probabilities of the best policy.
    """
    # All in logarithms, since an option that is best may be as unlikely as e^-700.
    behind = (rewards.amax(-1, keepdim=True) - rewards).log()

    def policy(above: Tensor) -> Tensor:  # given log(c - max r)
        return math.log(beta) + reference - torch.logaddexp(behind, above)

    # At c - max r = beta the sum is 1 or less; at beta ref, for the best, that one's share is 1.
    high = torch.full_like(behind[..., :1], math.log(beta))
    low = high + reference.where(behind == -math.inf, -math.inf).amax(-1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        too_small = policy(middle).logsumexp(-1, keepdim=True) > 0
        low, high = torch.where(too_small, middle, low), torch.where(too_small, high, middle)
    return policy(high).log_softmax(-1)

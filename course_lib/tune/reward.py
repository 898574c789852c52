"""A reward model: a language model that scores a completion with one number, trained on comparisons of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.models.gpt import GPT
from course_lib.nn.embed import embed_tokens
from course_lib.nn.storage import at_least_float32, device_of
from course_lib.train.losses import Loss
from course_lib.tune.completions import Examples, TokenBatch, completion_examples


class RewardModel(nn.Module):
    """A GPT with one output, a score, in place of logits: a completion's reward is the score at its last token.

    The new output layer is initialised from N(0, 1 / (d_model + 1)). To save a trained reward model, save its
    `state_dict()` as for any module; `course_lib.interop.save_pretrained(model.body, folder)` saves the body in a
    format that other libraries read.

    Args:
        body: The GPT, which becomes part of this model. Its own output layer is not used, and is frozen unless it is
            tied to the embedding.

    Source: Stiennon et al. 2020, section 3.4; the initialisation, Huang et al. 2024, detail 11.
    """

    def __init__(self, body: GPT) -> None:
        super().__init__()
        self.config = body.config
        self.body = body
        if not body.config.tie_embeddings:
            body.lm_head.requires_grad_(False)
        weight = body.token_embedding.weight
        dtype = at_least_float32(weight.dtype)  # lower precision is too coarse for rewards
        self.score = nn.Linear(body.config.d_model, 1, bias=False, dtype=dtype, device=weight.device)
        nn.init.normal_(self.score.weight, std=1 / math.sqrt(body.config.d_model + 1))

    def forward(self, texts: TokenBatch) -> Float[Tensor, " batch"]:
        """Compute the reward of each completion."""
        texts = texts.to(device_of(self))
        # The index of the last True of each row: argmax finds the first of the row read backwards.
        last = texts.completion_mask.shape[1] - 1 - texts.completion_mask.flip(1).int().argmax(dim=1)  # (batch,)
        return self.scores(texts.ids).gather(1, last[:, None])[:, 0]  # (batch,)

    def scores(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
        """Compute the score at every token: the reward if the completion ended there."""
        x = self.body.hidden_states(embed_tokens(self.body.token_embedding, ids))  # batch tokens d_model
        score = self.score.weight[0]  # (d_model,)
        return (x.to(score.dtype) * score).sum(dim=-1)  # a matrix product would be in bfloat16 under autocast


class PreferenceBatch(NamedTuple):
    """A batch of preferences: the chosen completions, then the rejected ones in the same order."""

    texts: TokenBatch
    ref_logprobs: Float[Tensor, "pairs 2"] | None  # see PreferencePairs


@dataclass(frozen=True)
class PreferencePairs:
    """Two completions of each prompt, the chosen and the rejected one, as the samples of a Loader.

    Attributes:
        both: The examples with chosen completions, then those with rejected ones.
        ref_logprobs: log p(completion | prompt) of the two under a fixed model, in nats. DPO needs it; see
            `course_lib.tune.dpo.with_ref_logprobs`.
    """

    both: Examples
    ref_logprobs: Float[Tensor, "pairs 2"] | None = None

    def __len__(self) -> int:
        return len(self.both) // 2

    def __getitem__(self, which: Int[Tensor, " chosen"]) -> PreferenceBatch:
        texts = self.both[torch.cat((which, which + len(self)))]
        return PreferenceBatch(texts, None if self.ref_logprobs is None else self.ref_logprobs[which])


def preference_examples(
    prompts: Sequence[Sequence[int]],
    chosen: Sequence[Sequence[int]],
    rejected: Sequence[Sequence[int]],
    eos_token_id: int | None = None,
) -> PreferencePairs:
    """Join each prompt with two completions, as `completion_examples` does with one; arguments and errors as there."""
    better = completion_examples(prompts, chosen, eos_token_id)
    worse = completion_examples(prompts, rejected, eos_token_id)
    return PreferencePairs(Examples([*better.ids, *worse.ids], [*better.completion_mask, *worse.completion_mask]))


def bradley_terry_loss(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    """Compute -log sigma(reward of the chosen completion - that of the rejected one): ln 2 where they are equal.

    In Bradley and Terry's model, this sigma is the probability that the first completion is preferred.

    Source: Bradley and Terry 1952; as a loss, Ouyang et al. 2022, equation 1, with two completions per prompt.
    """
    return -F.logsigmoid(chosen - rejected)


def reward_loss(model: nn.Module, batch: PreferenceBatch) -> Loss:
    """Compute the loss of a reward model: -log of the probability it gives to the actual preference, in nats.

    Its metrics are those of `margin_metrics`.
    """
    chosen, rejected = model(batch.texts).chunk(2)  # (pairs,) each
    losses = bradley_terry_loss(chosen, rejected)  # (pairs,)
    return Loss(losses.sum(), len(losses), margin_metrics(chosen, rejected))


@torch.no_grad()
def margin_metrics(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> dict[str, Float[Tensor, ""]]:
    """Compute the mean margin, and how often it is above 0; a margin of 0 is half right.

    The margin is the reward of the chosen completion - that of the rejected one.
    """
    margin = chosen - rejected
    return {"reward_margin": margin.mean(), "reward_accuracy": ((margin.sign() + 1) / 2).mean()}

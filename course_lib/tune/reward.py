"""A reward model: a language model that gives a reply one number, learned from which of two replies was preferred."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn

from course_lib.errors import ModelError
from course_lib.files import written
from course_lib.interop.folder import from_pretrained, read_tensors
from course_lib.interop.folder import save as save_model
from course_lib.models.gpt import GPT
from course_lib.nn.embed import embed_tokens
from course_lib.train.losses import Loss
from course_lib.tune.texts import Examples, Texts, device, pairs

SCORE = "score.safetensors"  # beside the files of the body


class RewardModel(nn.Module):
    """A GPT whose output layer gives one number in place of logits; that at a reply's last token is its reward.

    body: becomes a part of this model; its own output layer is not asked, and frozen where it is no embedding. The new
    layer starts as N(0, 1 / (d_model + 1)).
    Source: Stiennon et al. 2020, section 3.4; the start, Huang et al. 2024, detail 11.
    """

    def __init__(self, body: GPT) -> None:
        super().__init__()
        self.config = body.config
        self.body = body
        if not body.config.tie_embeddings:
            body.head.requires_grad_(False)
        weight = body.tokens.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)  # rewards, and steps, are too fine for less
        self.score = nn.Linear(body.config.d_model, 1, bias=False, dtype=dtype, device=weight.device)
        nn.init.normal_(self.score.weight, std=1 / math.sqrt(body.config.d_model + 1))

    def forward(self, texts: Texts) -> Float[Tensor, " batch"]:
        """The reward of each reply."""
        texts = texts.to(device(self))
        last = texts.learn.shape[1] - 1 - texts.learn.flip(1).int().argmax(dim=1)
        return self.scores(texts.ids).gather(1, last[:, None])[:, 0]

    def scores(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
        """What the output layer says at every token: the reward, should the reply end there."""
        x, _ = self.body.hidden_states(embed_tokens(self.body.tokens, ids))
        score = self.score.weight[0]
        return (x.to(score.dtype) * score).sum(dim=-1)  # a matrix product would be in bfloat16 under autocast


def save(model: RewardModel, folder: str | Path) -> None:
    """Write the folder of the body, as course_lib.models.save does, and the new layer beside it. Raises as that."""
    save_model(model.body, folder)
    try:
        with written(Path(folder), SCORE) as partial:
            safetensors.torch.save_file({"score.weight": model.score.weight.detach().contiguous()}, partial / SCORE)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{Path(folder) / SCORE} cannot be written ({error}); name another folder") from None


def load(folder: str | Path) -> RewardModel:
    """The reward model that `save` wrote, in eval mode. Raises ModelError where a file is missing or does not fit."""
    weight = read_tensors(Path(folder) / SCORE).get("score.weight")
    body = from_pretrained(folder)
    if not isinstance(body, GPT):
        raise ModelError(f"{folder} holds a {type(body).__name__}, and the body of a reward model is a GPT")
    model = RewardModel(body)
    if weight is None or weight.shape != model.score.weight.shape:
        raise ModelError(f"{Path(folder) / SCORE} holds no score.weight for this model; copy it again")
    model.load_state_dict({"score.weight": weight}, strict=False)
    return model.eval()


class Compared(NamedTuple):
    """A batch of comparisons: the chosen replies, then the rejected ones in the same order."""

    texts: Texts
    reference: Float[Tensor, "pairs 2"] | None  # see Comparisons


@dataclass(frozen=True)
class Comparisons:
    """Two replies to each prompt, the chosen and the rejected one, as the samples of a Loader.

    both: the texts with the chosen replies, then those with the rejected ones.
    reference: log p(reply | prompt) of the two under a fixed model, which DPO needs (course_lib.tune.dpo).
    """

    both: Examples
    reference: Float[Tensor, "pairs 2"] | None = None

    def __len__(self) -> int:
        return len(self.both) // 2

    def __getitem__(self, which: Int[Tensor, " chosen"]) -> Compared:
        return Compared(
            self.both[torch.cat((which, which + len(self)))], None if self.reference is None else self.reference[which]
        )


def comparisons(
    prompts: Sequence[Sequence[int]],
    chosen: Sequence[Sequence[int]],
    rejected: Sequence[Sequence[int]],
    end: int | None = None,
) -> Comparisons:
    """Comparisons of two replies to each prompt; `end` and errors as for course_lib.tune.texts.pairs."""
    better, worse = pairs(prompts, chosen, end), pairs(prompts, rejected, end)
    return Comparisons(Examples([*better.ids, *worse.ids], [*better.learn, *worse.learn]))


def bradley_terry(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    """-log of the probability that the chosen reply is preferred, sigma(its reward - the other's): ln 2 where equal.

    Source: Bradley and Terry 1952; as a loss, Ouyang et al. 2022, equation 1, with two replies a prompt.
    """
    return -F.logsigmoid(chosen - rejected)


def reward(model: nn.Module, batch: Compared) -> Loss:
    """The surprise, in nats, at what was preferred, given the rewards of both replies."""
    surprise = bradley_terry(*model(batch.texts).chunk(2))
    return Loss(surprise.sum(), len(surprise))


def verdict(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> dict[str, float]:
    """What rewards are worth on comparisons that were not learned: their loss, accuracy, and mean margin.

    A tie counts as half right.
    """
    margin = chosen - rejected
    return {
        "loss": bradley_terry(chosen, rejected).mean().item(),
        "accuracy": ((margin.sign() + 1) / 2).mean().item(),
        "margin": margin.mean().item(),
    }

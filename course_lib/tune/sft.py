"""Supervised fine-tuning: next-token prediction, on replies alone (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from course_lib.data.loading.packing import IGNORE, Packed, document_mask, pack
from course_lib.data.tokenizers.chat import encode_for_training
from course_lib.train.losses import Loss, cross_entropy
from course_lib.tune.texts import Examples, Texts, device


def conversations(
    dialogues: Sequence[Sequence[Mapping[str, Any]]], template: str, tokenizer: Tokenizer, **options: Any
) -> Examples:
    """Dialogues as a chat template writes them, of which what the assistant says is to be learned, and that it ends.

    options, errors: as of encode_for_training; also ValueError for a dialogue without any reply.
    """
    encoded = [encode_for_training(messages, template, tokenizer, **options) for messages in dialogues]
    silent = next((i for i, (_, learn) in enumerate(encoded) if not learn.any()), None)
    if silent is not None:
        raise ValueError(f"in dialogue {silent} the assistant says nothing, so there is nothing to learn; leave it out")
    return Examples([ids for ids, _ in encoded], [learn for _, learn in encoded])


def packed(examples: Examples, length: int) -> Packed:
    """The examples side by side in rows of `length` tokens, none of which sees another: less padding, the same lesson.

    Raises ValueError for a text that does not fit into a row: cut in two, its reply would stand there without prompt.
    """
    long = next((i for i, ids in enumerate(examples.ids) if len(ids) > length + 1), None)
    if long is not None:
        n = len(examples.ids[long])
        raise ValueError(
            f"text {long} has {n} tokens, too many for a row of {length}; leave it out, or take longer rows"
        )
    texts = [Texts(ids[None], learn[None]) for ids, learn in zip(examples.ids, examples.learn, strict=True)]
    inputs = pack([text.ids[0, :-1] for text in texts], length, end=0)
    targets = pack([text.targets[0] for text in texts], length, end=IGNORE)  # as long, so they lie at the same places
    return replace(inputs, targets=targets.tokens)


def sft(model: nn.Module, batch: Texts | Packed) -> Loss:
    """The surprise, in nats, at each token of the replies, given all tokens before it; that of prompts does not count.

    batch: as a Loader draws it from Examples, or from what `packed` makes of them. model: any decoder, called with ids.
    """
    if isinstance(batch, Packed):
        where = device(model)
        tokens, targets, documents, positions = (
            tensor.to(where) for tensor in (batch.tokens, batch.targets, batch.documents, batch.positions)
        )
        return cross_entropy(model(tokens, document_mask(documents), positions=positions), targets)
    batch = batch.to(device(model))
    return cross_entropy(model(batch.ids[:, :-1]), batch.targets)

"""Supervised fine-tuning: next-token prediction, on completions alone (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from course_lib.constants import IGNORE_INDEX
from course_lib.data.loading.packing import Packed, document_mask, pack
from course_lib.data.tokenizers.chat import encode_for_training
from course_lib.train.losses import Loss, cross_entropy
from course_lib.tune.completions import Examples, TokenBatch, device_of


def chat_examples(
    dialogues: Sequence[Sequence[Mapping[str, Any]]], template: str, tokenizer: Tokenizer, **options: Any
) -> Examples:
    """Conversations as a chat template writes them; the completion is all that the assistant says, with its end marks.

    Args:
        dialogues: each a list of messages with "role" and "content".
        template: the chat template, in Jinja.
        tokenizer: of the model.
        options: for `encode_for_training`, whose errors are raised too.

    Raises:
        ValueError: for a dialogue in which the assistant says nothing.
    """
    encoded = [encode_for_training(messages, template, tokenizer, **options) for messages in dialogues]
    for i, (_, mask) in enumerate(encoded):
        if not mask.any():
            raise ValueError(f"in dialogue {i} the assistant says nothing, so there is nothing to learn; leave it out")
    return Examples([ids for ids, _ in encoded], [mask for _, mask in encoded])


def pack_examples(examples: Examples, length: int) -> Packed:
    """Put several examples into each row of `length` tokens, where none attends to another: less padding, same loss.

    Raises:
        ValueError: for an example that does not fit into a row. Cut in two, its second half would lack its prompt.
    """
    for i, ids in enumerate(examples.ids):
        if len(ids) > length + 1:
            raise ValueError(
                f"text {i} has {len(ids)} tokens, too many for a row of {length}; leave it out, or take longer rows"
            )
    pairs = zip(examples.ids, examples.completion_mask, strict=True)
    texts = [TokenBatch(ids[None], mask[None]) for ids, mask in pairs]  # each a batch of one row
    inputs = pack([text.ids[0, :-1] for text in texts], length, end=0)
    targets = pack([text.targets[0] for text in texts], length, end=IGNORE_INDEX)  # as long, so at the same places
    return replace(inputs, targets=targets.tokens)


def sft_loss(model: nn.Module, batch: TokenBatch | Packed) -> Loss:
    """Cross-entropy of the completions' tokens, in nats, given all tokens before them; those of prompts do not count.

    Args:
        model: any decoder that is called with ids.
        batch: as a Loader draws it from Examples, or from what `pack_examples` makes of them.
    """
    if isinstance(batch, Packed):
        where = device_of(model)
        tokens, targets, documents, positions = (
            tensor.to(where) for tensor in (batch.tokens, batch.targets, batch.documents, batch.positions)
        )
        return cross_entropy(model(tokens, document_mask(documents), positions=positions), targets)
    batch = batch.to(device_of(model))
    return cross_entropy(model(batch.inputs), batch.targets)

"""Supervised fine-tuning: next-token prediction on completions only (Ouyang et al. 2022, section 3.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from course_lib.constants import IGNORE_INDEX
from course_lib.data.loading.packing import Packed, document_mask, pack
from course_lib.data.tokenizers.chat import encode_for_training
from course_lib.nn.storage import device_of
from course_lib.train.losses import Loss, cross_entropy
from course_lib.tune.completions import Examples, TokenBatch


def chat_examples(
    dialogues: Sequence[Sequence[Mapping[str, Any]]], template: str, tokenizer: Tokenizer, **options: Any
) -> Examples:
    """Format conversations with a chat template; the completion is all that the assistant says, with its end marks.

    Args:
        dialogues: Conversations, each a list of messages with "role" and "content".
        template: The chat template, in Jinja.
        tokenizer: The model's tokenizer.
        options: Options of `encode_for_training`, whose errors are raised too.

    Raises:
        ValueError: If the assistant says nothing in a dialogue.
    """
    encoded = [encode_for_training(messages, template, tokenizer, **options) for messages in dialogues]
    for i, (_, mask) in enumerate(encoded):
        if not mask.any():
            raise ValueError(f"in dialogue {i} the assistant says nothing, so there is nothing to learn; leave it out")
    return Examples([ids for ids, _ in encoded], [mask for _, mask in encoded])


def pack_examples(examples: Examples, length: int) -> Packed:
    """Pack several examples into each row of `length` tokens, for less padding and the same loss.

    No example attends to another.

    Raises:
        ValueError: If an example does not fit into a row. Cut in two, its second half would lack the prompt.
    """
    for i, ids in enumerate(examples.ids):
        if len(ids) > length + 1:
            raise ValueError(
                f"text {i} has {len(ids)} tokens, too many for a row of {length}; leave it out, or take longer rows"
            )
    pairs = zip(examples.ids, examples.completion_mask, strict=True)
    texts = [TokenBatch(ids[None], mask[None]) for ids, mask in pairs]  # each a batch of one row
    inputs = pack([text.ids[0, :-1] for text in texts], length, end=0)
    targets = pack([text.targets[0] for text in texts], length, end=IGNORE_INDEX)  # same lengths, so same places
    return replace(inputs, targets=targets.tokens)


def sft_loss(model: nn.Module, batch: TokenBatch | Packed) -> Loss:
    """Compute the cross-entropy of the completions' tokens given all tokens before them, in nats.

    Tokens of prompts do not count.

    Args:
        model: Any decoder that is called with ids.
        batch: A batch that a Loader draws from Examples, or from the result of `pack_examples`.
    """
    if isinstance(batch, Packed):
        where = device_of(model)
        tokens, targets, documents, positions = (
            tensor.to(where) for tensor in (batch.tokens, batch.targets, batch.documents, batch.positions)
        )
        return cross_entropy(model(tokens, document_mask(documents), positions=positions), targets)
    batch = batch.to(device_of(model))
    return cross_entropy(model(batch.inputs), batch.targets)

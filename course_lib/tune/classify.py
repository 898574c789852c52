"""Fine-tuning an encoder for labels: a linear layer on the mean of its last hidden states, trained with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from course_lib.models.bert import Bert
from course_lib.nn.attention import padding_mask
from course_lib.train.losses import Loss, cross_entropy

SCALE = 10.0  # factor on the features: they have length 1, and a softmax over numbers below 1 would be nearly uniform


class LabelledTexts(NamedTuple):
    """Texts as rows of token ids, padded on the right with 0, their lengths, and their classes."""

    ids: Int[Tensor, "batch tokens"]
    lengths: Int[Tensor, " batch"]
    labels: Int[Tensor, " batch"]

    def to(self, device: torch.device) -> LabelledTexts:
        """Move the texts to a device."""
        return LabelledTexts(*(part.to(device) for part in self))

    def take(self, which: Int[Tensor, " chosen"]) -> LabelledTexts:
        """Select some of the rows."""
        return LabelledTexts(*(part[which] for part in self))


def label_texts(tokenizer: Tokenizer, texts: Sequence[str], labels: Sequence[int], tokens: int) -> LabelledTexts:
    """Encode texts with their labels.

    Args:
        tokenizer: The encoder's tokenizer.
        texts: The texts to classify.
        labels: The class of each text, as an index.
        tokens: The length, in tokens, at which longer texts are cut off.

    Raises:
        ValueError: If there are no texts, if the numbers of texts and labels differ, or if a text has no tokens and so
            no mean.
    """
    if not texts or len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts and {len(labels)} labels make no examples; each text needs its label")
    read = tokenizer.encode_batch(list(texts))
    rows = [torch.tensor(one.ids[: min(tokens, sum(one.attention_mask))]) for one in read]  # without its own padding
    for i, row in enumerate(rows):
        if not len(row):
            raise ValueError(f"of text {i}, {texts[i]!r}, no token is left; leave it out, or read at least one of each")
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return LabelledTexts(ids, torch.tensor([len(row) for row in rows]), torch.tensor(labels))


class Classifier(nn.Module):
    """An encoder with a linear layer on top that starts at zero, so that all classes are equally likely at first.

    Args:
        encoder: The encoder, which becomes part of this model and is trained with it.
        n_classes: The number of classes.
    """

    def __init__(self, encoder: Bert, n_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.d_model, n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, texts: LabelledTexts) -> Float[Tensor, "batch d_model"]:
        """Compute the mean of the last hidden states of each text, scaled to length 1."""
        real = padding_mask(texts.lengths, texts.ids.shape[1])  # batch 1 1 tokens
        hidden = self.encoder(texts.ids, real)  # batch tokens d_model
        kept = real.reshape(len(hidden), -1, 1).to(hidden.dtype)  # batch tokens 1
        return F.normalize((hidden * kept).sum(1) / kept.sum(1), dim=1)  # batch d_model

    def forward(self, texts: LabelledTexts) -> Float[Tensor, "batch classes"]:
        """Compute the logits of the classes."""
        return self.head(SCALE * self.features(texts))  # batch classes


def classification_loss(model: Classifier, batch: LabelledTexts) -> Loss:
    """Compute the cross-entropy of the labels, in nats."""
    return cross_entropy(model(batch), batch.labels)

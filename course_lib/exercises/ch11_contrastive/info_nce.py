"""The contrastive loss of CLIP: which text belongs to which picture? (Radford et al. 2021, figure 3)"""

import math

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def info_nce(images, texts, temperature):
    cosines = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    logits = cosines / temperature
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def cases(rng):
    same = torch.tensor([[1.0, 2.0]]).repeat(4, 1)
    axes = torch.eye(3)
    warm, warmer = (0.3 + 0.5 * torch.rand(2, generator=rng)).tolist()
    return [
        Case("four pairs that are all alike", (same, same.clone(), 0.1)),
        Case("three perfect pairs, temperature 1", (axes, 2 * axes, 1.0)),
        Case("the first two texts exchanged", (axes, axes[[1, 0, 2]], warm)),
        Case("five perfect pairs of other lengths", (torch.eye(5), 3 * torch.eye(5), warmer)),
        Case(
            "six pairs, and a temperature that is learned",
            (torch.randn(6, 4, generator=rng), torch.randn(6, 4, generator=rng), torch.tensor(0.3)),
        ),
        Case(
            "six pairs, temperature 0.01",
            (torch.randn(6, 4, generator=rng), torch.randn(6, 4, generator=rng), 0.01),
            rtol=1e-4,
            atol=1e-3,
        ),
    ]


@alternative
def by_logsumexp(images, texts, temperature):
    images = images / images.norm(dim=1, keepdim=True)
    texts = texts / texts.norm(dim=1, keepdim=True)
    logits = torch.einsum("id,td->it", images, texts) / temperature
    right = logits.diagonal()
    return (logits.logsumexp(0) / 2 + logits.logsumexp(1) / 2 - right).mean()


@alternative
def by_log_softmax(images, texts, temperature):
    logits = F.cosine_similarity(images[:, None], texts[None], dim=2) / temperature
    over_texts = logits.log_softmax(dim=1).diagonal().mean()
    over_images = logits.log_softmax(dim=0).diagonal().mean()
    return -(over_texts + over_images) / 2


def logits_of(images, texts, temperature):
    return F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature


@mistake(
    "This asks each picture for its text, and no text for its picture. Add the cross-entropy of the transposed logits, "
    "and take the mean of the two."
)
def pictures_alone(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    return F.cross_entropy(logits, torch.arange(len(logits)))


@mistake(
    "This asks each text for its picture, and no picture for its text. Add the cross-entropy of the logits as they "
    "are, and take the mean of the two."
)
def texts_alone(images, texts, temperature):
    return pictures_alone.solution(texts, images, temperature)


@mistake("This is the sum of the two cross-entropies. Take their mean, so that constant vectors cost log B.")
def sum_of_both(images, texts, temperature):
    return 2 * info_nce(images, texts, temperature)


@mistake(
    "This multiplies by the temperature. The cosines are *divided* by it: a low temperature makes small differences "
    "large."
)
def times_temperature(images, texts, temperature):
    return info_nce(images, texts, 1 / temperature)


@mistake(
    "The vectors are not brought to length 1, so a long vector fits everything. `F.normalize(images, dim=1)`, and the "
    "texts too."
)
def not_normalised(images, texts, temperature):
    logits = images @ texts.T / temperature
    right = torch.arange(len(logits))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


@mistake(
    "This normalises over the batch, not over the features: `dim=1` is the axis of the features, `dim=0` that of the "
    "pairs."
)
def normalised_over_the_batch(images, texts, temperature):
    logits = F.normalize(images, dim=0) @ F.normalize(texts, dim=0).T / temperature
    right = torch.arange(len(logits))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


@mistake(
    "This pulls each pair together and pushes nothing apart, so making all vectors alike would be perfect. Compare "
    "each picture with *all* texts of the batch: a cross-entropy over the row."
)
def no_negatives(images, texts, temperature):
    return -logits_of(images, texts, temperature).diagonal().mean()


@mistake("This is the sum over the pairs of the batch. Take the mean: `F.cross_entropy` does.")
def sum_over_pairs(images, texts, temperature):
    return info_nce(images, texts, temperature) * len(images)


@mistake("The temperature is missing: divide the cosines by it.")
def no_temperature(images, texts, temperature):
    return info_nce(images, texts, 1.0)


@mistake("This is in bits. Leave the logarithm natural: constant vectors cost log B nats.")
def in_bits(images, texts, temperature):
    return info_nce(images, texts, temperature) / math.log(2)


EXERCISE = Exercise(
    id="info_nce",
    title="Which text belongs to which picture?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "All cosines at once are one matrix product. Row i is a question with B answers, and answer i is right. What "
        "is the loss of a question with several answers? And what do the columns ask?",
        "`logits = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature`, and then the mean of "
        "`F.cross_entropy(logits, torch.arange(len(logits)))` and the same with `logits.T`.",
    ),
    reference=info_nce,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Which caption belongs to which picture?",
)

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


@alternative
def with_plain_loops(images, texts, temperature):
    images = images / images.norm(dim=1, keepdim=True)
    texts = texts / texts.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(len(images)):
        captions = texts @ images[i] / temperature
        pictures = images @ texts[i] / temperature
        total = total + captions.logsumexp(0) - captions[i]
        total = total + pictures.logsumexp(0) - pictures[i]
    return total / (2 * len(images))


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


def _both(logits, right=None):
    right = torch.arange(len(logits)) if right is None else right
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


@mistake("Only the second cross-entropy is halved: `/` comes before `+`. Put brackets around the sum.")
def without_brackets(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    right = torch.arange(len(logits))
    return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right) / 2


@mistake(
    "The first caption is taken to be right for every picture. Row i is right at place i: `torch.arange(len(logits))`."
)
def first_is_right(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    return _both(logits, torch.zeros(len(logits), dtype=torch.long))


@mistake(
    "The softmax is taken twice: `F.cross_entropy` takes it by itself, of the scores as they are, and the logarithm "
    "too."
)
def softmax_twice(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    right = torch.arange(len(logits))
    return (F.cross_entropy(logits.softmax(1), right) + F.cross_entropy(logits.T.softmax(1), right)) / 2


@mistake("The sign is wrong: the surprise is *minus* the logarithm of the probability, and never below 0.")
def without_minus(images, texts, temperature):
    return -_both(logits_of(images, texts, temperature))


@mistake("The logarithm is missing: these are probabilities. A cross-entropy is the mean of minus their logarithms.")
def without_logarithm(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    return -(logits.softmax(1).diagonal().mean() + logits.softmax(0).diagonal().mean()) / 2


@mistake("This is the logarithm of the mean probability. Take the logarithm of each first, then the mean.")
def logarithm_of_the_mean(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    return -(logits.softmax(1).diagonal().mean().log() + logits.softmax(0).diagonal().mean().log()) / 2


@mistake("The vectors are divided by the *square* of their length. The length is its root: `norm`.")
def over_the_square(images, texts, temperature):
    images, texts = (each / (each**2).sum(1, keepdim=True) for each in (images, texts))
    return _both(images @ texts.T / temperature)


@mistake(
    "All vectors are divided by one length, that of the whole table. Each row is a vector and has its own: "
    "`norm(dim=1, keepdim=True)`."
)
def one_length_for_all(images, texts, temperature):
    return _both(images / images.norm() @ (texts / texts.norm()).T / temperature)


@mistake("Only the pictures' vectors have length 1 here. A cosine divides by *both* lengths: the texts' too.")
def texts_as_they_are(images, texts, temperature):
    return _both(F.normalize(images, dim=1) @ texts.T / temperature)


@mistake("Only the texts' vectors have length 1 here. A cosine divides by *both* lengths: the pictures' too.")
def images_as_they_are(images, texts, temperature):
    return _both(images @ F.normalize(texts, dim=1).T / temperature)


@mistake(
    "The right one is missing in the sum below the fraction. A softmax divides by *all* terms of the row, the right "
    "one too, and so the loss cannot fall below 0."
)
def without_its_own(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -math.inf)
    return (others.logsumexp(1) / 2 + others.logsumexp(0) / 2 - logits.diagonal()).mean()


@mistake("This is one softmax over all B times B pairs. Each row is a question of its own, and each column too.")
def one_question(images, texts, temperature):
    logits = logits_of(images, texts, temperature)
    return -logits.flatten().log_softmax(0).reshape(logits.shape).diagonal().mean()


@mistake("The second half compares texts with texts. The columns ask each text for its *picture*: `logits.T`.")
def texts_with_texts(images, texts, temperature):
    rows, among_texts = logits_of(images, texts, temperature), logits_of(texts, texts, temperature)
    right = torch.arange(len(rows))
    return (F.cross_entropy(rows, right) + F.cross_entropy(among_texts, right)) / 2


@mistake("The *loss* is divided by the temperature here. Divide the cosines by it, before the cross-entropy.")
def loss_over_temperature(images, texts, temperature):
    return info_nce(images, texts, 1.0) / temperature


@mistake(
    "At a low temperature this is infinite or NaN: `exp` of a large number overflows, and a very small one becomes 0, "
    "which has no logarithm. `F.cross_entropy`, `log_softmax` and `logsumexp` avoid both."
)
def exponentials_by_hand(images, texts, temperature):
    e = logits_of(images, texts, temperature).exp()
    return -((e.diagonal() / e.sum(1)).log().mean() + (e.diagonal() / e.sum(0)).log().mean()) / 2


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
        "`F.normalize(x, dim=1)` brings rows to length 1. `F.cross_entropy(scores, right)` takes a row of scores for "
        "each question, and the number of its right answer; the columns are the rows of the transposed table.",
    ),
    reference=info_nce,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Which caption belongs to which picture?",
)

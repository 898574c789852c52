"""How likely is a whole text? The sum of the log-probabilities of its tokens."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def log_likelihood(logits, ids):
    surprise = logits.logsumexp(dim=-1) - logits.gather(-1, ids[..., None])[..., 0]
    return -surprise.sum(dim=-1)


def cases(rng):
    def case(name, batch, tokens, vocab, size=2.0):
        logits = torch.randn(batch, tokens, vocab, generator=rng) * size
        return Case(name, (logits, torch.randint(vocab, (batch, tokens), generator=rng)))

    return [
        case("a batch of 2 texts of 4 tokens", 2, 4, 6),
        case("one text of 3 tokens", 1, 3, 5),
        case("3 texts of 7 tokens", 3, 7, 11),
        case("logits of a thousand", 2, 5, 8, size=600.0),
    ]


@alternative
def by_cross_entropy(logits, ids):
    return -torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none").sum(1)


@alternative
def by_loops(logits, ids):
    logs = torch.log_softmax(logits, dim=2)
    return torch.stack([sum(logs[b, t, ids[b, t]] for t in range(ids.shape[1])) for b in range(len(ids))])


def add_up_at(ids, numbers):
    """The sum of the numbers that belong to the tokens of each text."""
    return numbers.gather(-1, ids[..., None])[..., 0].sum(-1)


@mistake(
    "This is the mean over the tokens. Probabilities of one token after the other multiply, so their logarithms add "
    "up: take the sum."
)
def mean_instead_of_sum(logits, ids):
    return log_likelihood(logits, ids) / ids.shape[-1]


@mistake("The sign is flipped: this is the surprise, which is positive. The logarithm of a probability is at most 0.")
def surprise(logits, ids):
    return -log_likelihood(logits, ids)


@mistake("This adds up raw logits. Turn them into log-probabilities first: `logits.log_softmax(dim=-1)`.")
def raw_logits(logits, ids):
    return add_up_at(ids, logits)


@mistake(
    "This shifts once more. The logits at place i already belong to ids[i]: the shift has been made before the call."
)
def shifted_again(logits, ids):
    return log_likelihood(logits[:, :-1], ids[:, 1:])


@mistake(
    "Right on paper. But of large logits a probability is rounded to 0, or an exponential to infinity, before the "
    "logarithm is taken: use `logits.log_softmax(-1)`, which takes both steps at once."
)
def softmax_then_logarithm(logits, ids):
    return add_up_at(ids, logits.softmax(-1).log())


@mistake(
    "Right on paper. But the exponential of a large logit is infinite, and infinity over infinity is no number: use "
    "`logits.log_softmax(-1)`, which needs no such exponential."
)
def ratio_of_exponentials(logits, ids):
    return add_up_at(ids, (logits.exp() / logits.exp().sum(-1, keepdim=True)).log())


@mistake("This is the probability of the text. Its logarithm is asked for, which does not round to 0 for a long one.")
def probability(logits, ids):
    return log_likelihood(logits, ids).exp()


@mistake("This multiplies log-probabilities. Probabilities multiply, so their logarithms add up: take the sum.")
def product_of_logarithms(logits, ids):
    return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0].prod(-1)


@mistake(
    "This softmax runs over the texts of the batch. It is the entries of the vocabulary, along the last axis, that "
    "compete for each place."
)
def softmax_over_the_texts(logits, ids):
    return add_up_at(ids, logits.log_softmax(0))


@mistake(
    "This softmax runs over the tokens of the text. It is the entries of the vocabulary, along the last axis, that "
    "compete for each place."
)
def softmax_over_the_tokens(logits, ids):
    return add_up_at(ids, logits.log_softmax(1))


EXERCISE = Exercise(
    id="log_likelihood",
    title="How likely is a whole text?",
    points=2,
    minutes=8,
    difficulty=2,
    kind="code",
    hints=(
        "Log-probabilities of all tokens first, then pick those of the tokens that are there, then add them up.",
        "`logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0].sum(-1)`",
    ),
    reference=log_likelihood,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, Does GPT know what is in the gap?",
)

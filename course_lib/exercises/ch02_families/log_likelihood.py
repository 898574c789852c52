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


def remark(answer, right):
    """Likelihoods that something small has kept up are told here: everybody adds another number."""
    alike = isinstance(answer, torch.Tensor) and answer.shape == right.shape and answer.isfinite().all()
    if alike and right.max() < -1000 and (answer < -10).all() and (answer > -500).all():
        return (
            "no token gets less than a certain probability here. Is a small number added to the probabilities, or are "
            "they clamped? `logits.log_softmax(-1)` needs no such help."
        )
    return None


@alternative
def by_cross_entropy(logits, ids):
    return -torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none").sum(1)


@alternative
def by_loops(logits, ids):
    logs = torch.log_softmax(logits, dim=2)
    total = torch.zeros(len(ids))
    for b in range(len(ids)):
        for t in range(ids.shape[1]):
            total[b] += logs[b, t, ids[b, t]]
    return total


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


def log_probabilities(logits, ids):
    return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]


@mistake(
    "This adds up probabilities. The probability of a text is the *product* of those of its tokens; their logarithms "
    "add up."
)
def sum_of_probabilities(logits, ids):
    return log_probabilities(logits, ids).exp().sum(-1)


@mistake(
    "This adds up probabilities, and then takes the logarithm. Take it first: the probability of a text is a product, "
    "and the logarithm of a product is the sum of the logarithms."
)
def logarithm_of_the_sum(logits, ids):
    return log_probabilities(logits, ids).exp().sum(-1).log()


@mistake("This is one number for all texts together. Each text has its own: sum over its tokens alone, `dim=-1`.")
def sum_over_everything(logits, ids):
    return log_probabilities(logits, ids).sum()


@mistake(
    "This sums over the texts, place by place. Sum over the tokens of each text, the last axis of (batch, tokens)."
)
def sum_over_the_texts(logits, ids):
    return log_probabilities(logits, ids).sum(0)


@mistake("These are the log-probabilities of the tokens, and they are right. One step more: add them up for each text.")
def not_added_up(logits, ids):
    return log_probabilities(logits, ids)


@mistake("The numbers are right, and have an axis too many, (batch, 1): `gather` keeps it. Take it away, `[..., 0]`.")
def one_axis_too_many(logits, ids):
    return log_likelihood(logits, ids)[:, None]


@mistake("This is in bits. Take the natural logarithm.")
def in_bits(logits, ids):
    return log_likelihood(logits, ids) / torch.tensor(2.0).log()


@mistake(
    "This takes the most likely token at each place, whatever the text says. Take the one that is there: `ids` has "
    "its number."
)
def most_likely_tokens(logits, ids):
    return logits.log_softmax(-1).amax(-1).sum(-1)


@mistake("This adds up the log-probabilities of the whole vocabulary. At each place take that of one token, by `ids`.")
def sum_over_the_vocabulary(logits, ids):
    return logits.log_softmax(-1).sum((1, 2))


@mistake("This is the last token alone: each one writes over what the one before it has left. Add to it, `+=`.")
def last_token_alone(logits, ids):
    return log_probabilities(logits, ids)[:, -1]


@mistake(
    "The first token is left out. The shift has been made before the call: the logits at place 0 are already those for "
    "`ids[:, 0]`."
)
def first_token_left_out(logits, ids):
    return log_probabilities(logits, ids)[:, 1:].sum(-1)


@mistake(
    "Only the first text has its number. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_text_alone(logits, ids):
    return log_likelihood(logits, ids) * (torch.arange(len(ids)) == 0)


EXERCISE = Exercise(
    id="log_likelihood",
    title="How likely is a whole text?",
    points=2,
    minutes=8,
    difficulty=2,
    kind="code",
    hints=(
        "Log-probabilities of all tokens first, then pick those of the tokens that are there, then add them up.",
        "`logits.log_softmax(-1)` never leaves the logarithms. `gather` along the last axis, with `ids[..., None]`, "
        "picks the entries of the tokens, and keeps that axis with size 1: take it away before you sum.",
    ),
    reference=log_likelihood,
    cases=cases,
    remark=remark,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, Does GPT know what is in the gap?",
)

"""How far the best of n replies is from what the model would have written, exactly, where all replies are known."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def best_of_n_kl(p, n):
    up_to = p.cumsum(0)  # the probability of a reply that is this one or a worse one
    kept = up_to**n - (up_to - p) ** n
    return torch.xlogy(kept, kept / p).sum().item()


def cases(rng):
    some = torch.randn(6, generator=rng, dtype=torch.float64).softmax(0)
    n, alike = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((3, 9), (300, 3000)))
    rare = torch.tensor([0.5, 0.3, 0.199, 0.001], dtype=torch.float64)
    rare = rare * (1 + torch.rand(4, generator=rng, dtype=torch.float64) / 5)
    three = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    return [
        Case(
            "two equally likely replies, the best of 2",
            (torch.full((2,), 0.5, dtype=torch.float64), 2),
            expected=0.25 * math.log(0.5) + 0.75 * math.log(1.5),
        ),
        Case(f"six replies, the best of {n}", (some, n)),
        Case("a rare best reply, the best of 16", (rare / rare.sum(), 16)),
        Case(f"{alike} equally likely replies, the best of 8", (torch.full((alike,), 1 / alike).double(), 8)),
        Case("the best of 1", (three, 1), expected=0.0),
        Case("the best of 10,000: some replies are never kept", (three, 10_000), expected=math.log(2)),
    ]


@alternative
def by_loops(p, n):
    total, worse = 0.0, 0.0
    for probability in p.tolist():
        kept = (worse + probability) ** n - worse**n
        if kept > 0:
            total += kept * math.log(kept / probability)
        worse += probability
    return total


@alternative
def by_logarithms(p, n):
    log_up_to = p.log().logcumsumexp(0)
    log_worse = torch.cat([torch.full((1,), -math.inf).to(p), log_up_to[:-1]])
    log_kept = n * log_up_to + torch.log1p(-(n * (log_worse - log_up_to)).exp())
    return (log_kept.exp() * (log_kept - p.log())).sum().item()


def divergence(kept, p):
    return torch.xlogy(kept, kept / p).sum().item()


@mistake(
    "This is log n - (n - 1) / n, the limit for endlessly many replies. With the replies given it is less: find the "
    "probability with which each one is kept, and sum."
)
def limit_itself(p, n):
    return math.log(n) - (n - 1) / n


@mistake("This reads the replies from the best to the worst. They come from the worst to the best: the last one wins.")
def best_first(p, n):
    return best_of_n_kl(p.flip(0), n)


@mistake(
    "This takes the probability that none of the n is better. In some of these cases all n are worse, and another "
    "reply is kept: subtract those, so that the probabilities of all replies sum to 1."
)
def none_is_better(p, n):
    return divergence(p.cumsum(0) ** n, p)


@mistake(
    "This takes the probability that a reply is among the n. It is kept only if none of the others is better, so the "
    "probabilities of all replies have to sum to 1."
)
def is_among_the_n(p, n):
    return divergence(1 - (1 - p) ** n, p)


@mistake(
    "This keeps a reply only if all n are this very one. It is kept whenever it comes at least once and nothing better "
    "comes."
)
def all_n_alike(p, n):
    return divergence(p**n / (p**n).sum(), p)


@mistake("This is the divergence the other way round. The kept replies come first: sum kept * log(kept / p).")
def other_way_round(p, n):
    kept = p.cumsum(0) ** n - (p.cumsum(0) - p) ** n
    return divergence(p, kept)


IN_BITS = "This is in bits. In nats, the logarithm is the natural one: divide nothing, and use `log`, not `log2`."


@mistake(IN_BITS)
def in_bits(p, n):
    return best_of_n_kl(p, n) / math.log(2)


@mistake(IN_BITS)
def in_bits_and_nan_where_never_kept(p, n):
    kept = p.cumsum(0) ** n - (p.cumsum(0) - p) ** n
    return (kept * (kept / p).log2()).sum().item()


@mistake(
    "A reply that is never kept gives NaN here, since 0 times log 0 is NaN on a computer. It adds nothing: leave it "
    "out, or use `torch.xlogy`, which counts it as 0."
)
def nan_where_never_kept(p, n):
    kept = p.cumsum(0) ** n - (p.cumsum(0) - p) ** n
    return (kept * (kept / p).log()).sum().item()


@mistake(
    "Here all the others have to be strictly worse. The same reply may come twice, and is kept then as well: ask how "
    "likely all n are this one or worse, and take off that all are worse."
)
def all_others_strictly_worse(p, n):
    return divergence(n * p * (p.cumsum(0) - p) ** (n - 1), p)


FOR_EACH_SAMPLE = (
    "This is n p times the probability that the n - 1 others are this one or worse. It counts a set several times in "
    "which the reply comes several times. Ask how likely all n are this one or worse, and take off that all are worse."
)


@mistake(FOR_EACH_SAMPLE)
def counted_for_each_sample(p, n):
    return divergence(n * p * p.cumsum(0) ** (n - 1), p)


@mistake(FOR_EACH_SAMPLE)
def counted_for_each_sample_and_nan_where_never_kept(p, n):
    kept = n * p * p.cumsum(0) ** (n - 1)
    return (kept * (kept / p).log()).sum().item()


MADE_TO_SUM_TO_1 = (
    "The probabilities are made to sum to 1 by dividing, but their ratios are not right. A reply is kept if all n are "
    "this one or worse, and not all are worse. Those sum to 1 by themselves."
)


@mistake(MADE_TO_SUM_TO_1)
def counted_for_each_sample_made_to_sum_to_1(p, n):
    kept = n * p * p.cumsum(0) ** (n - 1)
    return divergence(kept / kept.sum(), p)


@mistake(MADE_TO_SUM_TO_1)
def counted_for_each_sample_made_to_sum_to_1_and_nan_where_never_kept(p, n):
    kept = n * p * p.cumsum(0) ** (n - 1)
    kept = kept / kept.sum()
    return (kept * (kept / p).log()).sum().item()


@mistake(
    "This takes the probability that a reply is among the n, divided by the sum. It is kept only if none of the others "
    "is better: the best reply is kept far more often, compared with the worst, than this says."
)
def is_among_the_n_made_to_sum_to_1(p, n):
    kept = 1 - (1 - p) ** n
    return divergence(kept / kept.sum(), p)


@mistake(
    "These are the logarithms alone. Weigh each by how likely its reply is kept, q: the KL is the *mean* logarithm of "
    "the ratio."
)
def not_weighed(p, n):
    kept = p.cumsum(0) ** n - (p.cumsum(0) - p) ** n
    return (kept / p).log().sum().item()


@mistake(
    "The logarithms are weighed by p, how likely the language model writes a reply. Weigh them by q, how likely it is "
    "kept."
)
def weighed_by_p(p, n):
    kept = p.cumsum(0) ** n - (p.cumsum(0) - p) ** n
    return (p * (kept / p).log()).sum().item()


@mistake("This is divided by the number of replies. The weights q sum to 1 already: take the sum, not the mean.")
def mean_over_the_replies(p, n):
    return best_of_n_kl(p, n) / len(p)


@mistake(
    "The sign is flipped. A KL is never below 0: it is the mean of log(q / p), with q above, and no minus in front."
)
def sign_flipped(p, n):
    return -best_of_n_kl(p, n)


@mistake("This is a logarithm to the base 10. In nats, the logarithm is the natural one, `log`.")
def to_the_base_10(p, n):
    return best_of_n_kl(p, n) / math.log(10)


@mistake("This is the best of n - 1. All n samples have to be this reply or a worse one: the power is n.")
def best_of_one_less(p, n):
    return best_of_n_kl(p, n - 1)


@mistake(
    "This multiplies by n. The samples are independent, so that all n are this reply or a worse one has the "
    "probability `up_to` *to the power of* n."
)
def times_n(p, n):
    return divergence(n * p, p)


@mistake(
    "This raises p to the power of n: all n would be this very reply. It is kept if all n are this one *or worse*, and "
    "not all are worse: sum up first, with `cumsum`."
)
def p_to_the_power_of_n(p, n):
    return divergence(p**n, p)


EXERCISE = Exercise(
    id="best_of_n_kl",
    title="How far does the best of n go?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="derive",
    hints=(
        "When is a reply kept? If all n are this one or worse, and not all are worse. How likely is a reply that is "
        "this one or worse? Take that to the power of n, and subtract.",
        "`up_to = p.cumsum(0)` is how likely a sample is this reply or a worse one, and `up_to**n` how likely all n "
        "are. How likely are all n worse? The difference is q. `torch.xlogy(q, q / p)` counts a reply that is never "
        "kept as 0.",
    ),
    reference=best_of_n_kl,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, The best of n",
)

"""How often each answer wins a vote, exactly, from the probabilities of the answers."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def p_plurality(probabilities, counts):
    votes = counts.sum(1)
    orders = torch.lgamma(votes + 1) - torch.lgamma(counts + 1).sum(1)  # logarithms of factorials
    chance = (orders + probabilities.log() @ counts.T).exp()  # (questions, outcomes)
    leads = counts == counts.max(1, keepdim=True).values
    return chance @ (leads / leads.sum(1, keepdim=True)).to(chance.dtype)


def _outcomes(votes, answers):
    """All ways in which votes can fall on answers, one a row."""
    if answers == 1:
        return torch.tensor([[votes]])
    parts = []
    for first in range(votes + 1):
        rest = _outcomes(votes - first, answers - 1)
        parts.append(torch.cat([torch.full((len(rest), 1), first), rest], dim=1))
    return torch.cat(parts)


def cases(rng):
    def chances(questions, answers):
        weights = torch.rand(questions, answers, generator=rng) + 0.05
        return weights / weights.sum(1, keepdim=True)

    def vote(questions, answers, votes):
        return chances(questions, answers), _outcomes(votes, answers).float()

    return [
        Case(
            "by hand: 0.5, 0.3 and 0.2, three votes",
            (torch.tensor([[0.5, 0.3, 0.2]]), _outcomes(3, 3).float()),
            expected=torch.tensor([[0.56, 0.276, 0.164]]),
        ),
        Case("one vote: each answer with its own probability", vote(4, 5, 1)),
        Case("two votes: a tie, or the same twice", vote(4, 3, 2)),
        Case("five votes on two answers", vote(6, 2, 5)),
        Case("four votes on four answers", vote(6, 4, 4)),
        Case("nine votes on five answers", vote(5, 5, 9)),
        Case("99 votes on two answers", vote(5, 2, 99)),
    ]


@alternative
def outcome_by_outcome(probabilities, counts):
    p = probabilities.double()  # room for 99!
    wins = torch.zeros_like(p)
    for row in counts.tolist():
        fallen = [int(count) for count in row]
        chance = torch.full_like(p[:, 0], float(math.factorial(sum(fallen))))
        for answer, count in enumerate(fallen):
            chance = chance * p[:, answer] ** count / float(math.factorial(count))
        leaders = [answer for answer, count in enumerate(fallen) if count == max(fallen)]
        for answer in leaders:
            wins[:, answer] += chance / len(leaders)
    return wins.to(probabilities.dtype)


@alternative
def by_binomials(probabilities, counts):
    # The answers one after another: choose the places of each among those that are left.
    ways = [math.prod(math.comb(int(sum(row[i:])), int(row[i])) for i in range(len(row))) for row in counts.tolist()]
    powers = probabilities[:, None, :] ** counts  # (questions, outcomes, answers)
    chance = powers.prod(2) * torch.tensor(ways, dtype=probabilities.dtype)
    most = counts.max(1).values
    wins = [(chance * (counts[:, a] == most) / (most == counts.T).sum(0)).sum(1) for a in range(counts.shape[1])]
    return torch.stack(wins, dim=1)


def _by_share(probabilities, counts, share, orders=True):
    """The sum over outcomes, with another share for each answer, or without counting the orders."""
    ways = torch.lgamma(counts.sum(1) + 1) - torch.lgamma(counts + 1).sum(1)
    chance = (ways * orders + probabilities.log() @ counts.T).exp()
    return chance @ share.to(chance.dtype)


def _leads(counts):
    return counts == counts.max(1, keepdim=True).values


@mistake(
    "It is not counted in how many orders the votes of an outcome can come: the factorial of their number, divided by "
    "the factorials of the counts."
)
def without_the_orders(probabilities, counts):
    return _by_share(probabilities, counts, _leads(counts) / _leads(counts).sum(1, keepdim=True), orders=False)


@mistake("In a tie every leader counts as the winner here, so a row adds up to more than 1. They share the win.")
def ties_count_in_full(probabilities, counts):
    return _by_share(probabilities, counts, _leads(counts))


@mistake(
    "An outcome with a tie counts for nobody here, so a row adds up to less than 1. The leaders share the win: two of "
    "them half each."
)
def ties_count_for_nobody(probabilities, counts):
    return _by_share(probabilities, counts, _leads(counts) & (_leads(counts).sum(1, keepdim=True) == 1))


@mistake("This asks for more than half of all votes. With three answers or more, fewer can win: the most votes count.")
def more_than_half(probabilities, counts):
    return _by_share(probabilities, counts, 2 * counts > counts.sum(1, keepdim=True))


@mistake("In a tie the first answer of the list wins here. The leaders share the win.")
def first_of_a_tie(probabilities, counts):
    return _by_share(probabilities, counts, torch.nn.functional.one_hot(counts.argmax(1), counts.shape[1]))


@mistake(
    "This is each answer's own probability, which is also its average share of the votes. Only the answer with the "
    "most votes wins."
)
def shares_of_votes(probabilities, counts):
    return _by_share(probabilities, counts, counts / counts.sum(1, keepdim=True))


@mistake("Here the most probable answer always wins. With few votes, another one sometimes has more of them.")
def the_most_probable(probabilities, counts):
    return (probabilities == probabilities.max(1, keepdim=True).values).to(probabilities.dtype)


@mistake("The factorials are those of one less: `torch.lgamma(n + 1)` is the logarithm of n!, with the 1 everywhere.")
def factorials_of_one_less(probabilities, counts):
    ways = torch.lgamma(counts.sum(1)) - torch.lgamma(counts).sum(1)
    chance = (ways + probabilities.log() @ counts.T).exp()
    return chance @ (_leads(counts) / _leads(counts).sum(1, keepdim=True)).to(chance.dtype)


def _shared(counts):
    return _leads(counts) / _leads(counts).sum(1, keepdim=True)


@mistake(
    "The factorial of all votes is not divided by those of the counts. Two votes for the same answer can change "
    "places, and it is still the same order."
)
def all_orders(probabilities, counts):
    chance = (torch.lgamma(counts.sum(1) + 1) + probabilities.log() @ counts.T).exp()
    return chance @ _shared(counts).to(chance.dtype)


@mistake("The factorials of the counts are *added* up below the fraction. They are multiplied there.")
def factorials_added(probabilities, counts):
    counts, p = counts.double(), probabilities.double()  # room for 99!
    ways = torch.lgamma(counts.sum(1) + 1) - torch.lgamma(counts + 1).exp().sum(1).log()
    return ((ways + p.log() @ counts.T).exp() @ _shared(counts)).to(probabilities.dtype)


@mistake("These are sums of logarithms. Take `exp` of them first: then they are the chances of the outcomes.")
def still_logarithms(probabilities, counts):
    ways = torch.lgamma(counts.sum(1) + 1) - torch.lgamma(counts + 1).sum(1)
    chance = ways + probabilities.log() @ counts.T
    return chance @ _shared(counts).to(chance.dtype)


@mistake(
    "The probabilities are multiplied by the counts and added up. The chance of an outcome is a product of *powers*: "
    "add up logarithms, `probabilities.log() @ counts.T`, and take `exp`."
)
def without_logarithms(probabilities, counts):
    ways = torch.lgamma(counts.sum(1) + 1) - torch.lgamma(counts + 1).sum(1)
    return (ways.exp() * (probabilities @ counts.T)) @ _shared(counts).to(probabilities.dtype)


@mistake(
    "An answer leads here if it has more votes than in any other outcome, as with `counts.max(0)`. It leads if it has "
    "more than the *other answers* of its outcome: the largest of a row, `counts.max(1)`."
)
def leads_over_outcomes(probabilities, counts):
    leads = counts == counts.max(0, keepdim=True).values
    return _by_share(probabilities, counts, leads / leads.sum(1, keepdim=True).clamp(min=1))


@mistake(
    "A leader's share is divided by the number of all answers. It is shared among those who lead this outcome, so if "
    "one answer leads alone, it has all of it."
)
def shared_by_all(probabilities, counts):
    return _by_share(probabilities, counts, _leads(counts) / counts.shape[1])


@mistake(
    "Every outcome is taken for equally likely. Its chance comes from the probabilities of the answers, as in the "
    "formula."
)
def outcomes_alike(probabilities, counts):
    return _shared(counts).mean(0).to(probabilities.dtype).expand(len(probabilities), -1)


@mistake(
    "Each row is divided by its sum, so that it adds up to 1. But it does so by itself if each outcome counts in all "
    "its orders: the factorials are missing."
)
def made_to_add_up(probabilities, counts):
    wins = _by_share(probabilities, counts, _leads(counts) / _leads(counts).sum(1, keepdim=True), orders=False)
    return wins / wins.sum(1, keepdim=True)


@mistake(
    "In a tie every leader counts in full, and then each row is divided by its sum. That is not the same as sharing: "
    "divide within each outcome, by how many lead it."
)
def ties_in_full_made_to_add_up(probabilities, counts):
    wins = _by_share(probabilities, counts, _leads(counts))
    return wins / wins.sum(1, keepdim=True)


@mistake("Only the last outcome counts in which an answer leads. Add up over all outcomes: `+=`, not `=`.")
def last_outcome_alone(probabilities, counts):
    wins = torch.zeros_like(probabilities)
    for row in counts:
        share = _by_share(probabilities, row[None], _shared(row[None]))
        wins = torch.where(_leads(row[None]), share, wins)
    return wins


@mistake("These are the chances of the outcomes. Add up, for each answer, its share of those that it leads.")
def chances_of_outcomes(probabilities, counts):
    return _by_share(probabilities, counts, torch.eye(len(counts)))


@mistake(
    "Everything is too small by a factor, the number of votes, as if the factorial above the fraction were that of one "
    "vote less. `torch.lgamma(n + 1)` is the logarithm of n!, and `torch.lgamma(n)` that of (n - 1)!."
)
def one_vote_less_above(probabilities, counts):
    return p_plurality(probabilities, counts) / counts.sum(1)[0]


EXERCISE = Exercise(
    id="p_plurality",
    title="How often each answer wins",
    points=3,
    minutes=20,
    difficulty=3,
    kind="code",
    hints=(
        "How likely is one outcome? One order of its votes has the product of the probabilities; how many orders are "
        "there? Then: which answers lead in it, and how much of the win does each get?",
        "`probabilities.log() @ counts.T` adds up the logarithms of the powers, for each question and outcome. Add "
        "those of the orders before `exp`. With a table of the leaders' shares, (outcomes, answers), the sum over "
        "outcomes is a matrix product too.",
    ),
    reference=p_plurality,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, What a vote makes of the probabilities",
    rtol=1e-3,
)

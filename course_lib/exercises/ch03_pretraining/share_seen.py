"""How many of the answers must a model have seen, if it does better than the best possible?"""

import math

import numpy as np
import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def share_seen(counts, loss):
    p = counts[counts > 0].double() / counts.sum()  # of a kind that never comes, nothing is to be paid
    floor = -(p * p.log()).sum().item()
    # Nothing is paid at the places seen, and the floor at all others: loss = (1 - share) * floor.
    return max(0.0, 1 - loss / floor)


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    def case(name, kinds, absent, low, high):
        """A loss between two shares of the floor, on cards of so many kinds, of which some never occur."""
        counts = (60 * torch.rand(kinds, generator=rng) ** 3).long() + 1
        counts[torch.randperm(kinds, generator=rng)[:absent]] = 0
        return Case(name, (counts, number(low, high) * entropy(counts)))

    return [
        Case("four kinds, equally frequent, and a loss of half the floor", (torch.tensor([5] * 4), math.log(2))),
        case("three kinds, not equally frequent", 3, 0, 0.3, 0.8),
        case("thirty kinds", 30, 0, 0.5, 0.9),
        case("twelve kinds, of which four never occur", 12, 4, 0.2, 0.7),
        case("nearly all seen", 8, 0, 0.01, 0.05),
        case("a loss just below the floor", 20, 0, 0.95, 0.99),
        case("a loss above the floor", 10, 0, 1.05, 1.4),
    ]


def run_case(subject, counts, loss):
    """Ask for a number: a tensor of no dimensions is one, whatever its type."""
    answer = subject(counts, loss)
    return answer.item() if getattr(answer, "shape", None) == () else answer


@alternative
def card_by_card(counts, loss):
    cards = torch.arange(len(counts)).repeat_interleave(counts)
    surprise = -(counts[cards] / len(cards)).log().mean()
    return torch.clamp((surprise - loss) / surprise, min=0)


@alternative
def ready_made(counts, loss):
    floor = torch.distributions.Categorical(counts.double()).entropy().item()
    return 1 - loss / floor if loss < floor else 0.0


@alternative
def by_numpy(counts, loss):
    n = counts.numpy().astype(float)
    floor = np.log(n.sum()) - (n * np.log(np.maximum(n, 1))).sum() / n.sum()
    return np.maximum(1 - loss / floor, 0)


@alternative
def kind_by_kind(counts, loss):
    total = sum(counts.tolist())
    floor = 0.0
    for count in counts.tolist():
        if count > 0:
            p = count / total
            floor -= p * math.log(p)
    if loss >= floor:
        return 0.0
    return (floor - loss) / floor


def entropy(counts):
    """The lowest mean surprise in nats, if the frequencies are all that is known."""
    p = counts.double() / counts.sum()
    return torch.special.entr(p).sum().item()


def seen_above(floor, loss):
    return max(0.0, 1 - loss / floor)


@mistake(
    "The floor is taken to be the logarithm of the number of kinds. That is what a model pays that knows nothing. One "
    "that knows how frequent each kind is bets more on the frequent ones, and pays less."
)
def all_kinds_alike(counts, loss):
    return seen_above(math.log(len(counts)), loss)


@mistake(
    "The floor is taken to be the logarithm of the number of kinds that occur. The best guess bets more on the "
    "frequent ones, and pays less."
)
def kinds_that_occur_alike(counts, loss):
    return seen_above(math.log((counts > 0).sum()), loss)


@mistake(
    "The floor is taken over the kinds: each counts once. But a frequent kind has to be paid for more often: weigh its "
    "surprise by how often it comes."
)
def each_kind_once(counts, loss):
    p = counts[counts > 0].double() / counts.sum()
    return seen_above(-p.log().mean().item(), loss)


@mistake("A loss above the floor gives a negative share. Nothing need have been seen there: return 0.")
def below_zero(counts, loss):
    return 1 - loss / entropy(counts)


NOT_SEEN = "This is the share of the places that were *not* seen. At those the floor is paid, at the others nothing."


@mistake(NOT_SEEN)
def share_not_seen(counts, loss):
    return min(1.0, loss / entropy(counts))


@mistake(NOT_SEEN)
def share_not_seen_without_a_limit(counts, loss):
    return loss / entropy(counts)


@mistake("This is how far the loss is below the floor, in nats. Which share of the places makes it so much lower?")
def in_nats(counts, loss):
    return max(0.0, entropy(counts) - loss)


@mistake(
    "The floor is in bits here, and the loss is in nats. Take the natural logarithm for both, or convert one of them."
)
def floor_in_bits(counts, loss):
    return seen_above(entropy(counts) / math.log(2), loss)


@mistake(
    "This is not a number where a kind never occurs: 0 times the logarithm of 0. Such a kind costs nothing. Leave it "
    "out of the sum."
)
def absent_kinds_spoil_the_sum(counts, loss):
    p = counts.double() / counts.sum()
    share = 1 - loss / -(p * p.log()).sum()
    return share.clamp(min=0).item()


@mistake(
    "Where a kind never occurs, 0 times the logarithm of 0 is not a number, and `max(0, ...)` makes a 0 of it. Such a "
    "kind costs nothing. Leave it out of the sum."
)
def absent_kinds_give_0(counts, loss):
    p = counts.double() / counts.sum()
    return max(0.0, 1 - loss / -(p * p.log()).sum().item())


@mistake(
    "1 is added to each count here, as for the bigram. That was against pairs that training never saw. Here the text "
    "is the very one that is scored, so its counts are exact."
)
def one_added_to_the_counts(counts, loss):
    return seen_above(entropy(counts + 1), loss)


@mistake(
    "This compares the probabilities, e to the power of minus the loss. But a loss is a *mean* of surprises: places "
    "that are seen and places that are not mix in the surprises themselves."
)
def by_perplexity(counts, loss):
    best, reached = math.exp(-entropy(counts)), math.exp(-loss)
    return max(0.0, (reached - best) / (1 - best))


@mistake(
    "This divides by the loss. The share is of all places, and if none were seen, all together would cost the floor: "
    "divide by that."
)
def divided_by_the_loss(counts, loss):
    return max(0.0, entropy(counts) / loss - 1)


@mistake("The sign of the floor is flipped: p ln p is negative, and what is paid is *minus* its sum.")
def floor_is_negative(counts, loss):
    return max(0.0, 1 + loss / entropy(counts))


@mistake("Brackets are missing: in `floor - loss / floor` the division comes first.")
def without_brackets(counts, loss):
    return max(0.0, entropy(counts) - loss / entropy(counts))


@mistake(
    "This is 0 wherever something was seen: the difference is turned round. The more was seen, the further is the loss "
    "*below* the floor."
)
def difference_turned_round(counts, loss):
    return max(0.0, loss / entropy(counts) - 1)


@mistake("A loss above the floor gives a share here, by `abs`. Nothing need have been seen there: return 0.")
def sign_lost(counts, loss):
    return abs(1 - loss / entropy(counts))


@mistake("The counts are used as if they were probabilities. Divide them by how many there are in all, `counts.sum()`.")
def counts_for_probabilities(counts, loss):
    n = counts[counts > 0].double()
    return max(0.0, 1 - loss / -(n * n.log()).sum().item())


@mistake("The counts are divided by the number of kinds. Divide them by how many there are in all, `counts.sum()`.")
def divided_by_the_kinds(counts, loss):
    p = counts[counts > 0].double() / len(counts)
    return max(0.0, 1 - loss / -(p * p.log()).sum().item())


@mistake("The floor is divided once more, by the number of kinds. Weighed by p, the sum is a mean already.")
def mean_instead_of_sum(counts, loss):
    return seen_above(entropy(counts) / int((counts > 0).sum()), loss)


@mistake(
    "The surprises of all kinds are added up. The floor is their mean: weigh each by how often it comes, its "
    "probability."
)
def surprises_not_weighed(counts, loss):
    p = counts[counts > 0].double() / counts.sum()
    return seen_above(-p.log().sum().item(), loss)


@mistake("The floor is taken to be the surprise at the most frequent kind. The others have to be paid for, too.")
def most_frequent_kind_alone(counts, loss):
    return seen_above(-math.log(counts.max() / counts.sum()), loss)


@mistake("This is in percent. A share lies between 0 and 1.")
def percent(counts, loss):
    return 100 * share_seen(counts, loss)


@mistake(
    "Only the first kind went into the floor. Is the `return` inside the loop? Then the function ends in its first "
    "round: move it to the left, under the `for`."
)
def first_kind_alone(counts, loss):
    return max(0.0, 1 - loss / torch.special.entr(counts[0] / counts.sum()).item())


EXERCISE = Exercise(
    id="share_seen",
    title="How much has it seen?",
    points=2,
    minutes=10,
    difficulty=2,
    kind="derive",
    hints=(
        "Two steps. First the floor: a model that knows how frequent each kind is gives it just this probability. What "
        "does it pay for one kind, and how often? Then mix: at places seen it pays nothing, at others the floor.",
        "The floor is a mean: for each kind that occurs, what it costs, -ln p with p = count / all, times how often it "
        "comes, p. Then write down the loss of a model that pays nothing at a share of the places, and solve for the "
        "share. It is never below 0.",
    ),
    reference=share_seen,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, The control: shuffled text",
)

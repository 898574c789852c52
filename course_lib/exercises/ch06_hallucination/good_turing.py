"""The Good-Turing estimate: how often a fact will be asked that was never mentioned, from the mentions alone."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def good_turing(facts):
    counts = facts.unique(return_counts=True)[1]
    return (counts == 1).sum() / len(facts)


def cases(rng):
    def mentions(n, most, power):
        # Small numbers are mentioned often, large ones rarely.
        return (most * torch.rand(n, generator=rng) ** power).long()

    return [
        Case(
            "by hand: fact 7 three times, 2 and 5 once each",
            (torch.tensor([7, 2, 7, 5, 7]),),
            expected=torch.tensor(0.4),
        ),
        Case("20 mentions, and each fact has two or more", (torch.randint(900, (10,), generator=rng).repeat(2),)),
        Case("60 mentions of 200 facts", (mentions(60, 200, 2.0),)),
        Case("500 mentions of 1,000 facts", (mentions(500, 1000, 3.0),)),
        Case("300 mentions of 50 facts", (mentions(300, 50, 2.0),)),
    ]


@alternative
def by_bincount(facts):
    return (facts.bincount() == 1).float().sum() / facts.numel()


@alternative
def by_sets(facts):
    once, more = set(), set()
    for fact in facts.tolist():
        (more if fact in once else once).add(fact)
    return torch.tensor(len(once - more) / len(facts))


@alternative
def by_a_dict(facts):
    counts = {}
    for fact in facts.tolist():
        counts[fact] = counts.get(fact, 0) + 1
    once = 0
    for count in counts.values():
        if count == 1:
            once += 1
    return torch.tensor(once / len(facts))


@mistake("This divides by the number of different facts. Divide by the number of mentions.")
def of_all_facts(facts):
    return (facts.unique(return_counts=True)[1] == 1).float().mean()


@mistake("This is a count. Divide it by the number of mentions.")
def a_count(facts):
    return (facts.unique(return_counts=True)[1] == 1).sum().float()


@mistake("This counts how many different facts were mentioned. Count those that were mentioned once and no more.")
def different_facts(facts):
    return torch.tensor(len(facts.unique()) / len(facts))


@mistake("This is the share of mentions of facts that were mentioned several times. The others are wanted.")
def the_others(facts):
    counts = facts.unique(return_counts=True)[1]
    return counts[counts > 1].sum() / len(facts)


@mistake("This counts the facts that were mentioned twice. Count those that were mentioned once.")
def mentioned_twice(facts):
    return (facts.unique(return_counts=True)[1] == 2).sum() / len(facts)


@mistake(
    "This counts numbers that no mention has. Nobody knows how many facts there are: count what was mentioned once."
)
def gaps(facts):
    return (facts.bincount() == 0).sum() / len(facts)


@mistake(
    "This is the share of mentions that only repeat an earlier one. Of the others, some are the first of several: "
    "count the facts that were mentioned once and no more."
)
def repeated(facts):
    return 1 - torch.tensor(len(facts.unique()) / len(facts))


@mistake(
    "This is 1, whatever was mentioned. In a loop over a tensor each entry is a tensor of its own, and a dict or a set "
    "takes any two of them for different, also if they hold the same number. Loop over `facts.tolist()`."
)
def tensors_as_keys(facts):
    return torch.tensor(len(set(facts)) / len(facts))


@mistake(
    "This divides by the highest number of a fact, and counts facts that no mention has. Divide by the number of "
    "mentions."
)
def of_all_numbers(facts):
    return (facts.bincount() == 1).float().mean()


@mistake(
    "This looks for the fact whose *number* is 1. `facts.unique(return_counts=True)` gives two tensors: the facts, and "
    "how often each of them came. The counts are the second."
)
def the_fact_one(facts):
    return (facts.unique() == 1).sum() / len(facts)


@mistake(
    "Only neighbours are compared here, and the mentions of a fact may lie far apart. `unique` puts equal ones "
    "together, `unique_consecutive` does not."
)
def neighbours_alone(facts):
    return (facts.unique_consecutive(return_counts=True)[1] == 1).sum() / len(facts)


@mistake(
    "A mention counts as new here if it differs from the one before it. An earlier mention of the same fact may lie "
    "further back: count how often each fact comes in the whole list."
)
def differs_from_the_one_before(facts):
    return torch.tensor(1 + (facts[1:] != facts[:-1]).sum().item()) / len(facts)


@mistake("The facts that came twice are counted too. Count only those that came exactly once.")
def once_or_twice(facts):
    return (facts.unique(return_counts=True)[1] <= 2).sum() / len(facts)


@mistake(
    "This divides the facts mentioned once by the facts mentioned several times. Divide by the number of mentions, "
    "`len(facts)`."
)
def once_over_several(facts):
    counts = facts.unique(return_counts=True)[1]
    return (counts == 1).sum() / (counts > 1).sum()


EXERCISE = Exercise(
    id="good_turing",
    title="What was never mentioned",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "How often does each fact come? `facts.unique(return_counts=True)` gives the facts and their counts.",
        "`[1]` of what `unique` returns are the counts. Which of them count here? Divide their number by that of the "
        "mentions.",
    ),
    reference=good_turing,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, What was never mentioned",
)

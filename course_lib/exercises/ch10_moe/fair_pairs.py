"""Which two runs differ in one thing alone: the only pairs whose difference has one explanation."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def fair_pairs(arms, question):
    pairs = []
    for one in sorted(arms):
        for other in sorted(arms):
            differs = [name for name in arms[one] if arms[one][name] != arms[other][name]]
            if one < other and differs == [question]:
                pairs.append([one, other])
    return pairs


def lab_arms():
    names = ("router", "stored", "computed")
    table = {
        "mixture": ("learned", 8, 1),
        "hash": ("fixed", 8, 1),
        "dense": ("fixed", 1, 1),
        "dense, 8 times as wide": ("fixed", 8, 8),
    }
    return {arm: dict(zip(names, row, strict=True)) for arm, row in table.items()}


def cases(rng):
    def random_arms(n):
        # Three things with two values each: at most 8 different runs, and random who gets which number.
        codes = torch.rand(8, generator=rng).argsort()[:n].tolist()
        return {
            f"run {i}": {"data": code & 1, "steps": 100 * (1 + (code >> 1 & 1)), "width": 32 << (code >> 2)}
            for code, i in sorted((code, i) for i, code in enumerate(codes))
        }

    # Neither in alphabetical order nor in the opposite one.
    twins = {"b": {"x": 1, "y": 1}, "c": {"x": 2, "y": 1}, "d": {"x": 2, "y": 3}, "a": {"x": 1, "y": 1}}
    seven, eight = random_arms(7), random_arms(8)
    return [
        Case("this lab: what does learning to route bring?", (lab_arms(), "router"), expected=[["hash", "mixture"]]),
        Case("this lab: what does storing more bring?", (lab_arms(), "stored"), expected=[["dense", "hash"]]),
        Case(
            "this lab: what does computing more bring?",
            (lab_arms(), "computed"),
            expected=[["dense, 8 times as wide", "hash"]],
        ),
        Case("two runs alike, and two that differ in everything", (twins, "x"), expected=[["a", "c"], ["b", "c"]]),
        Case("seven runs, question: steps", (seven, "steps")),
        Case("seven runs, question: width", (seven, "width")),
        Case("eight runs, question: data", (eight, "data")),
        Case("eight runs, question: steps", (eight, "steps")),
        Case("eight runs, question: width", (eight, "width")),
        Case("nothing to compare", ({"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 2}}, "x"), expected=[]),
    ]


@alternative
def by_what_is_left(arms, question):
    def others(arm):
        return {name: value for name, value in arms[arm].items() if name != question}

    names = sorted(arms)
    return [
        [one, other]
        for i, one in enumerate(names)
        for other in names[i + 1 :]
        if arms[one][question] != arms[other][question] and others(one) == others(other)
    ]


@alternative
def by_counting(arms, question):
    found = set()
    for one, settings in arms.items():
        for other, theirs in arms.items():
            n_changes = sum(settings[name] != theirs[name] for name in settings)
            if n_changes == 1 and settings[question] != theirs[question]:
                found.add((min(one, other), max(one, other)))
    return [list(pair) for pair in sorted(found)]


def pairs_where(arms, wanted):
    """All pairs whose list of differences is one that is wanted, in alphabetical order."""
    names = sorted(arms)
    return [
        [one, other]
        for i, one in enumerate(names)
        for other in names[i + 1 :]
        if wanted([name for name in arms[one] if arms[one][name] != arms[other][name]])
    ]


@mistake(
    "These pairs differ in the question, and some of them in other things as well. Then nobody knows which of these "
    "made the difference. Keep the pairs that are equal in everything else."
)
def differ_in_more(arms, question):
    return pairs_where(arms, lambda differs: question in differs)


@mistake("These pairs differ in one thing, but not always in the one that was asked about.")
def differ_in_any_one(arms, question):
    return pairs_where(arms, lambda differs: len(differs) == 1)


@mistake(
    "Two runs that are alike in everything are among the pairs. They say how much luck there is, not what the "
    "question asks: a pair has to differ in it."
)
def alike_too(arms, question):
    return pairs_where(arms, lambda differs: differs in ([], [question]))


@mistake("These pairs are equal in what was asked about, and differ in something else. It is the other way round.")
def equal_in_the_question(arms, question):
    return pairs_where(arms, lambda differs: differs and question not in differs)


# Sorted, or as they come.
TWICE = "Each pair is here twice, in both orders. Once is enough, with the first name in the alphabet first."


@mistake(TWICE)
def both_orders(arms, question):
    pairs = fair_pairs(arms, question)
    return sorted(pairs + [pair[::-1] for pair in pairs])


@mistake(TWICE)
def both_orders_as_they_come(arms, question):
    pairs = fair_pairs(arms, question)
    return [[one, other] for one in arms for other in arms if sorted([one, other]) in pairs]


def in_order_of_the_dict(arms, question):
    pairs, names = fair_pairs(arms, question), list(arms)
    return [[a, b] for i, a in enumerate(names) for b in names[i + 1 :] if sorted([a, b]) in pairs]


@mistake(
    "The pairs are right, their order is not: names and pairs stand as they do in the dict. Both have to be in "
    "alphabetical order. Go through `sorted(arms)`, and they are."
)
def not_sorted(arms, question):
    return in_order_of_the_dict(arms, question)


@mistake("The pairs are right, and each is in alphabetical order. But the list of the pairs has to be sorted too.")
def list_not_sorted(arms, question):
    return [sorted(pair) for pair in in_order_of_the_dict(arms, question)]


@mistake("The pairs are right, and their list is sorted. But the names *within* a pair have to be in order too.")
def names_not_sorted(arms, question):
    return sorted(in_order_of_the_dict(arms, question))


EXERCISE = Exercise(
    id="fair_pairs",
    title="What may be compared with what",
    points=2,
    minutes=10,
    difficulty=2,
    kind="design",
    hints=(
        "Go through all pairs of names. In which settings do the two runs differ? A pair is fair if this list holds "
        "the question and nothing else.",
        "Make the list of the settings in which the two runs differ, and compare it with `[question]`. Two loops over "
        "`sorted(arms)`, of which only pairs with `one < other` are kept, give the right order.",
    ),
    reference=fair_pairs,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, Which control says what?",
)

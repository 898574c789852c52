"""The deletion test: which mentions to leave out, so that a person's other fact is the control."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    in_words,
    mistake,
    mistakes_in,
)


def forget(person, attribute, chosen, seed):
    generator = torch.Generator().manual_seed(seed)
    stays = torch.ones(len(person), dtype=torch.bool)
    for number in chosen:
        gone = torch.randint(2, (), generator=generator)
        stays[(person == number) & (attribute == gone)] = False
    return stays


def cases(rng):
    def mentions(people, n_chosen):
        # Two mentions of every fact, then more, mostly of people with small numbers.
        more = (people * torch.rand(6 * people, generator=rng) ** 2).long()
        person = torch.cat([torch.arange(people).repeat(4), more])
        attribute = torch.cat(
            [torch.arange(2).repeat_interleave(2 * people), torch.randint(2, more.shape, generator=rng)]
        )
        order = torch.randperm(len(person), generator=rng)
        chosen = torch.randperm(people, generator=rng)[:n_chosen]
        return person[order], attribute[order], chosen

    def whole():
        return int(torch.randint(2, 10**6, (), generator=rng))

    return [
        Case("60 people, 20 of them chosen, seed 0", (*mentions(60, 20), 0)),
        Case("60 people, 24 of them chosen, seed 1", (*mentions(60, 24), 1)),
        Case("100 people, 40 of them chosen, another seed", (*mentions(100, 40), whole())),
        Case("80 people, 30 of them chosen, another seed", (*mentions(80, 30), whole())),
    ]


def run_case(subject, person, attribute, chosen, seed):
    """Look at what is left of whom, not at which fact went: any random choice is right."""
    stays = subject(person, attribute, chosen, seed)
    if not isinstance(stays, torch.Tensor):
        raise WrongAnswer("return a tensor; `torch.tensor(...)` makes one of a list of True and False.")
    if stays.shape != person.shape:
        raise WrongAnswer(f"return a tensor of the shape of `person`, {tuple(person.shape)}, not {tuple(stays.shape)}.")
    if stays.dtype != torch.bool:
        raise WrongAnswer(f"return True and False, a tensor of type torch.bool, not {stays.dtype}.")
    seen = seen_from_outside(stays, person, attribute, chosen)
    if seen != RIGHT:
        return seen
    others, again = subject(person, attribute, chosen, seed + 1), subject(person, attribute, chosen, seed)
    if not torch.equal(stays, again):
        return "another choice each time"
    return "the same choice for every seed" if torch.equal(stays, others) else seen


RIGHT = "one fact of each, at random"


def seen_from_outside(stays, person, attribute, chosen):
    """Describe the choice: two answers with the same fault may have drawn others at random."""
    among = (person[:, None] == chosen).any(1)
    if not stays.any():
        return "nothing at all stays"
    if not stays[~among].any():
        return "of the others nothing stays"
    if not stays[~among].all():
        return "others lose mentions too"
    # of each chosen person's two facts, the share of mentions that stay
    facts = [[stays[(person == number) & (attribute == a)].float().mean() for a in (0, 1)] for number in chosen]
    left = torch.tensor(facts)
    if ((left > 0) & (left < 1)).any():
        return "some mentions of a fact stay, some go"
    gone = (left == 0).sum(1)
    if (gone == 2).all():
        return "both facts of each go"
    if (gone == 0).all():
        return "nothing goes"
    if (gone == 2).any():
        return "both facts of some go"
    if (gone == 0).sum() == len(chosen) - 1:
        return "one fact of one person goes"
    if (gone == 0).any():
        return "no fact of some goes"
    share = left[:, 0].mean()
    return RIGHT if 0.1 < share < 0.9 else "the same fact of all"


@alternative
def with_a_table(person, attribute, chosen, seed):
    torch.manual_seed(seed)
    gone = torch.full((int(person.max()) + 1,), -1)
    gone[chosen] = torch.randint(2, chosen.shape)
    return gone[person] != attribute


@alternative
def half_of_each(person, attribute, chosen, seed):
    # As many first facts as second ones.
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
    first, second = chosen[order[::2]], chosen[order[1::2]]
    return ~(torch.isin(person, first) & (attribute == 0) | torch.isin(person, second) & (attribute == 1))


@alternative
def mention_by_mention(person, attribute, chosen, seed):
    generator = torch.Generator().manual_seed(seed)
    gone = {number: int(torch.randint(2, (), generator=generator)) for number in chosen.tolist()}
    stays = []
    for number, fact in zip(person.tolist(), attribute.tolist(), strict=True):
        if number in gone and gone[number] == fact:
            stays.append(False)
        else:
            stays.append(True)
    return torch.tensor(stays)


@mistake(
    "Both facts of a chosen person go. Then the name is gone too, and nothing is left to compare with: was it the fact "
    "that was missing, or the person? Delete one of the two."
)
def both_facts(person, attribute, chosen, seed):
    return ~torch.isin(person, chosen)


@mistake(
    "The same fact goes for all of them. Then what is deleted and what stays are two kinds of fact, of which one may "
    "be harder. Choose at random for each person."
)
def the_same_fact(person, attribute, chosen, seed):
    return ~(torch.isin(person, chosen) & (attribute == 0))


@mistake(
    "Of some fact a part of the mentions goes, and a part stays: each mention for itself, as with a coin flip for "
    "each, or only the first one. A fact that is still mentioned is not forgotten: let all its mentions go."
)
def each_mention(person, attribute, chosen, seed):
    coin = torch.rand(len(person), generator=torch.Generator().manual_seed(seed)) < 0.5
    return ~(torch.isin(person, chosen) & coin)


@mistake(
    "Only mentions of chosen people are True here. True marks what *stays*: all that is said about the others, and one "
    "fact of each chosen person."
)
def marks_what_goes(person, attribute, chosen, seed):
    return ~with_a_table.solution(person, attribute, chosen, seed)


@mistake(
    "People who were not chosen lose mentions too. `chosen` holds numbers of people, as they stand in `person`; they "
    "are no places in the list of mentions."
)
def of_everybody(person, attribute, chosen, seed):
    return with_a_table.solution(person, attribute, person.unique(), seed)


@mistake("Nothing is deleted here.")
def nothing(person, attribute, chosen, seed):
    return torch.ones(len(person), dtype=torch.bool)


@mistake(
    "Some chosen people lose both facts, as if each fact went by a coin flip of its own. Let exactly one of the two "
    "go, and draw which."
)
def a_coin_for_each_fact(person, attribute, chosen, seed):
    generator = torch.Generator().manual_seed(seed)
    gone = torch.zeros(int(person.max()) + 1, 2, dtype=torch.bool)
    gone[chosen] = torch.rand(len(chosen), 2, generator=generator) < 0.5
    return ~gone[person, attribute]


@mistake(
    "Only one person loses a fact. Is the `return` inside the loop? Then it ends at its first round: indent it as the "
    "`for`."
)
def the_first_person_alone(person, attribute, chosen, seed):
    return with_a_table.solution(person, attribute, chosen[:1], seed)


@mistake(
    "Nothing stays. A mention goes if it is about this person *and* about this fact: `&`. With `|` all that is about "
    "the person goes, and this fact of everybody."
)
def either_is_enough(person, attribute, chosen, seed):
    stays = torch.ones(len(person), dtype=torch.bool)
    for i, number in enumerate(chosen):
        stays[(person == number) | (attribute == i % 2)] = False
    return stays


@mistake("Some of the chosen people lose nothing. Exactly one of the two facts of *each* of them goes.")
def some_lose_nothing(person, attribute, chosen, seed):
    return with_a_table.solution(person, attribute, chosen[::2], seed)


@mistake(
    "Every seed gives the same choice: `seed` is not used, or nothing is drawn at random. Draw 0 or 1 for each chosen "
    "person, with a generator that has this seed: `torch.Generator().manual_seed(seed)`."
)
def by_turns(person, attribute, chosen, seed):
    gone = torch.full((int(person.max()) + 1,), -1)
    gone[chosen] = torch.arange(len(chosen)) % 2
    return gone[person] != attribute


EXERCISE = Exercise(
    id="forget",
    title="What to delete, and what to leave",
    points=3,
    minutes=15,
    difficulty=2,
    kind="design",
    hints=(
        "Every chosen person has two facts. One is to be deleted, the other is the control. Which one, should not be "
        "the same for all.",
        "Begin with True for all mentions. Draw 0 or 1 for each chosen person, with a generator of this seed: the "
        "fact of this number goes. Which two conditions does a mention of it meet?",
    ),
    reference=forget,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Delete the fact, keep the person",
)

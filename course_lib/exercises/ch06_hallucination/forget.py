"""The deletion test: which mentions to leave out, so that a person's other fact is the control."""

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


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
    if not isinstance(stays, torch.Tensor) or stays.shape != person.shape:
        raise WrongAnswer(f"return a tensor of the shape of `person`, {tuple(person.shape)}.")
    if stays.dtype != torch.bool:
        raise WrongAnswer(f"return True and False, a tensor of type torch.bool, not {stays.dtype}.")
    return seen_from_outside(stays, person, attribute, chosen)


def seen_from_outside(stays, person, attribute, chosen):
    """Describe the choice: two answers with the same fault may have drawn others at random."""
    among = (person[:, None] == chosen).any(1)
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
    if (gone != 1).any():
        return "not one fact of each"
    share = left[:, 0].mean()
    return "one fact of each, at random" if 0.1 < share < 0.9 else "the same fact of all"


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
    "Each mention of the chosen people goes or stays by a coin flip of its own. A fact that is still mentioned is not "
    "forgotten: let all its mentions go."
)
def each_mention(person, attribute, chosen, seed):
    coin = torch.rand(len(person), generator=torch.Generator().manual_seed(seed)) < 0.5
    return ~(torch.isin(person, chosen) & coin)


@mistake("This marks the mentions that go. Mark those that stay.")
def marks_what_goes(person, attribute, chosen, seed):
    return ~with_a_table.solution(person, attribute, chosen, seed)


@mistake("People who were not chosen lose mentions too. Look at `chosen`.")
def of_everybody(person, attribute, chosen, seed):
    return with_a_table.solution(person, attribute, person.unique(), seed)


@mistake("Nothing is deleted here.")
def nothing(person, attribute, chosen, seed):
    return torch.ones(len(person), dtype=torch.bool)


@mistake("Each fact goes or stays by a coin flip of its own: some people lose both, some none. Let exactly one go.")
def a_coin_for_each_fact(person, attribute, chosen, seed):
    generator = torch.Generator().manual_seed(seed)
    gone = torch.zeros(int(person.max()) + 1, 2, dtype=torch.bool)
    gone[chosen] = torch.rand(len(chosen), 2, generator=generator) < 0.5
    return ~gone[person, attribute]


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
        "Draw 0 or 1 for each chosen person with a generator of this seed. False where `person` is this person and "
        "`attribute` is that number; True elsewhere.",
    ),
    reference=forget,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Delete the fact, keep the person",
)

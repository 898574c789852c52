"""The most recent turns of a conversation that fit into a budget, found from code that keeps the oldest."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def recent(lengths, budget):
    kept, used = [], 0
    for turn in reversed(range(len(lengths))):
        if used + lengths[turn] > budget:
            break
        kept.append(turn)
        used += lengths[turn]
    return kept[::-1]


def cases(rng):
    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def turns(n, low=5, high=40):
        return torch.randint(low, high, (n,), generator=rng).tolist()

    exact, over = turns(whole(6, 12)), turns(whole(6, 12))
    gap = turns(8, 5, 9)
    gap[5] = 60  # too long, with shorter ones before it
    return [
        Case("by hand: of 10, 30, 20 and 10 tokens, the last two fit into 35", ([10, 30, 20, 10], 35), expected=[2, 3]),
        Case("all of them fit", (turns(4), 500), expected=[0, 1, 2, 3]),
        Case("not even the last one fits", (turns(5, 20, 30), whole(3, 15)), expected=[]),
        Case("a long turn, and short ones before it", (gap, whole(25, 40))),
        Case("the last turns fit exactly", (exact, sum(exact[-whole(2, 6) :]))),
        Case("the last turns are one token too long", (over, sum(over[-whole(3, 6) :]) - 1)),
        Case("12 turns", (turns(12), whole(90, 150))),
        Case("30 turns", (turns(30), whole(200, 400))),
    ]


@alternative
def first_that_fits(lengths, budget):
    n = len(lengths)
    for first in range(n):
        if sum(lengths[first:]) <= budget:
            return list(range(first, n))
    return []


@alternative
def by_dropping(lengths, budget):
    kept = list(range(len(lengths)))
    while kept and sum(lengths[turn] for turn in kept) > budget:
        kept.pop(0)
    return kept


@mistake(
    "The fault is still there: this keeps the oldest turns, and the model does not hear what was said last. Begin at "
    "the end.",
    given=True,
)
def oldest(lengths, budget):
    kept, used = [], 0
    for turn, length in enumerate(lengths):
        if used + length > budget:
            break
        kept.append(turn)
        used += length
    return kept


@mistake("These are the right turns, but the newest comes first. Return them in the order in which they were said.")
def newest_first(lengths, budget):
    return recent(lengths, budget)[::-1]


@mistake(
    "A turn that does not fit is skipped, and older ones are taken in its place: the conversation has a gap. Stop at "
    "the first one that does not fit."
)
def with_gaps(lengths, budget):
    kept, used = [], 0
    for turn in reversed(range(len(lengths))):
        if used + lengths[turn] <= budget:
            kept.append(turn)
            used += lengths[turn]
    return kept[::-1]


@mistake("One turn too many: the one that goes over the budget is kept too.")
def one_too_many(lengths, budget):
    kept = recent(lengths, budget)
    first = kept[0] if kept else len(lengths)
    return list(range(max(0, first - 1), len(lengths)))


@mistake("Turns that fill the budget exactly fit too. Stop only above it.")
def never_full(lengths, budget):
    return recent(lengths, budget - 1)


@mistake("These numbers count from the end. After `reversed`, number the turns as in `lengths`: the first is 0.")
def numbers_from_the_end(lengths, budget):
    return list(range(len(recent(lengths, budget))))


@mistake("These are the lengths of the turns that are kept. Return their numbers, from 0 on.")
def lengths_of_the_turns(lengths, budget):
    return [lengths[turn] for turn in recent(lengths, budget)]


@mistake(
    "Each turn is compared with the whole budget here, as if no other had been kept. Add up what is used, and compare "
    "the sum."
)
def each_turn_alone(lengths, budget):
    kept = []
    for turn in reversed(range(len(lengths))):
        if lengths[turn] > budget:
            break
        kept.append(turn)
    return kept[::-1]


@mistake(
    "These numbers count from the end, 0 for the last turn. If you loop over `reversed(lengths)`, the first that comes "
    "is turn number `len(lengths) - 1`."
)
def numbers_from_the_end_newest_last(lengths, budget):
    return list(range(len(recent(lengths, budget))))[::-1]


@mistake(
    "These numbers count from the end, 1 for the last turn. As an index `-1` would do for it; its number is "
    "`len(lengths) - 1`."
)
def counted_back_from_one(lengths, budget):
    return [number + 1 for number in numbers_from_the_end_newest_last.solution(lengths, budget)]


@mistake(
    "These are negative numbers, which count from the end. The number of a turn counts from 0 on, from the oldest."
)
def negative_numbers(lengths, budget):
    return [turn - len(lengths) for turn in recent(lengths, budget)]


@mistake("These numbers are too large by one: the oldest turn has number 0.")
def counted_from_one(lengths, budget):
    return [turn + 1 for turn in recent(lengths, budget)]


@mistake("This is how many turns fit. Return their numbers in a list.")
def how_many(lengths, budget):
    return len(recent(lengths, budget))


@mistake("The last turn is kept also where it does not fit. Then nothing fits: the list is empty.")
def always_the_last(lengths, budget):
    return recent(lengths, budget) or [len(lengths) - 1]


@mistake(
    "The oldest turn is never kept. `range` ends before its second number: down to 0 it is `range(n - 1, -1, -1)`."
)
def never_the_oldest(lengths, budget):
    return [turn for turn in recent(lengths, budget) if turn > 0]


@mistake("These are the turns that go. Return those that are kept.")
def those_that_go(lengths, budget):
    return list(range(len(lengths) - len(recent(lengths, budget))))


@mistake(
    "Only the turn kept just before is counted as used, and not all of them. Add each length to what is used so far: "
    "`+=`."
)
def last_length_alone(lengths, budget):
    kept, used = [], 0
    for turn in reversed(range(len(lengths))):
        if used + lengths[turn] > budget:
            break
        kept.append(turn)
        used = lengths[turn]
    return kept[::-1]


@mistake("The shortest turns are kept, whenever they were said. Begin with the last turn, and go back in time.")
def shortest_first(lengths, budget):
    kept, used = [], 0
    for turn in sorted(range(len(lengths)), key=lambda turn: lengths[turn]):
        if used + lengths[turn] > budget:
            break
        kept.append(turn)
        used += lengths[turn]
    return sorted(kept)


EXERCISE = Exercise(
    id="recent",
    title="What was said last, with a fault",
    points=2,
    minutes=8,
    difficulty=1,
    kind="debug",
    hints=(
        "Which turns does the faulty function look at first? Which should it give up first when there is no room?",
        "`reversed(range(len(lengths)))` begins with the last turn. In which order does your list then have the turns, "
        "and in which should it?",
    ),
    reference=recent,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, A conversation that is too long",
)

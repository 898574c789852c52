"""Retrieval within a budget: which earlier turns of a conversation to show the model beside the last one."""

import math

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


def choose(turns, lengths, question, budget):
    n = len(turns)

    def score(turn):
        shared = set(turns[turn]) & set(question)
        return sum(math.log(n / sum(word in other for other in turns)) for word in shared)

    chosen, room = [n - 1], budget - lengths[-1]
    for turn in sorted(range(n - 1), key=lambda turn: (score(turn), turn), reverse=True):
        if lengths[turn] <= room:
            chosen.append(turn)
            room -= lengths[turn]
    return sorted(chosen)


COMMON = ["the", "a", "my", "is", "in", "to", "what", "do", "i", "you"]
# fmt: off
RARE = [
    "cat", "moon", "garden", "bus", "rain", "book", "shop", "aunt", "piano", "soup", "boat", "letter", "winter",
    "cousin", "market", "engine", "candle", "river", "ticket", "window", "doctor", "sugar", "hammer", "island",
    "parrot", "basket", "cellar", "tunnel", "violin", "pepper", "meadow", "anchor", "ladder", "mirror", "thunder",
]
# fmt: on


def cases(rng):
    def some(words, n):
        return [words[i] for i in torch.randperm(len(words), generator=rng)[:n].tolist()]

    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def talk(n, chatty):
        # Each turn has two rare words of its own, and common ones.
        rare = some(RARE, 2 * n)
        turns = [some(COMMON, whole(4, 9)) + rare[2 * i : 2 * i + 2] for i in range(n)]
        target = whole(0, n - 1)
        turns[target] = some(COMMON, 1 if chatty else 4) + rare[2 * target : 2 * target + 2]
        question = [*some(COMMON, 5 if chatty else 0), *turns[target][-2:]]
        lengths = [len(turn) + whole(6, 12) for turn in turns]
        budget = lengths[-1] + lengths[target] + whole(0, 12)
        return {"turns": turns, "lengths": lengths, "question": question, "budget": budget, "target": target}

    def talks(number, n, chatty):
        return ([talk(n, chatty) for _ in range(number)],)

    def with_room(number):
        found = [talk(whole(5, 12), False) for _ in range(number)]
        return ([each | {"budget": 2 * sum(each["lengths"])} for each in found],)

    return [
        Case("10 conversations of 8 turns, questions of two words", talks(10, 8, False)),
        Case("10 conversations of 12 turns, questions with common words", talks(10, 12, True)),
        Case("12 conversations of 17 turns, questions of two words", talks(12, 17, False)),
        Case("12 conversations of 15 turns, questions with common words", talks(12, 15, True)),
        Case("16 conversations of 10 turns, questions with common words", talks(16, 10, True)),
        Case("6 conversations of several lengths, and room for all turns", with_room(6)),
    ]


def run_case(subject, talks):
    """Compare what is chosen, not how: any way that finds what is asked about, within the budget, is right."""
    chosen = [subject(talk["turns"], talk["lengths"], talk["question"], talk["budget"]) for talk in talks]
    for turns, talk in zip(chosen, talks, strict=True):
        if not isinstance(turns, list) or any(type(turn) is not int for turn in turns):
            raise WrongAnswer("return a list of whole numbers, the numbers of the turns to show.")
        if len(set(turns)) < len(turns):
            raise WrongAnswer("a turn is there twice.")
        if any(not 0 <= turn < len(talk["turns"]) for turn in turns):
            raise WrongAnswer("a turn has a number that none has; they are numbered from 0.")
    return seen_from_outside(chosen, talks)


def seen_from_outside(chosen, talks):
    """Describe the choice, not its turns: two right answers may fill the room that is left in different ways."""
    pairs = list(zip(chosen, talks, strict=True))
    if any(sum(talk["lengths"][turn] for turn in turns) > talk["budget"] for turns, talk in pairs):
        return "over the budget"
    if any(turns != sorted(turns) for turns in chosen):
        return "not in the order in which they were said"
    if any(len(talk["turns"]) - 1 not in turns for turns, talk in pairs):
        return "without the last turn"
    found = sum(talk["target"] in turns for turns, talk in pairs) / len(talks)
    return "finds what is asked about" if found > 0.9 else "misses what is asked about"


@alternative
def by_the_rarest_word(turns, lengths, question, budget):
    counts = {word: sum(word in turn for turn in turns) for word in question}
    last = len(turns) - 1
    rarest = [min((counts[w] for w in turn if w in counts), default=len(turns) + 1) for turn in turns]
    order = sorted(range(last), key=lambda turn: rarest[turn])
    kept = {last}
    for turn in order:
        if sum(lengths[t] for t in kept | {turn}) <= budget:
            kept.add(turn)
    return sorted(kept)


@alternative
def best_one_alone(turns, lengths, question, budget):
    # Weights of 1 / (number of turns with the word), and one turn beside the last.
    scores = [sum(1 / sum(w in t for t in turns) ** 2 for w in question if w in turn) for turn in turns[:-1]]
    best = scores.index(max(scores))
    last = len(turns) - 1
    return [best, last] if lengths[best] + lengths[last] <= budget else [last]


@alternative
def with_plain_loops(turns, lengths, question, budget):
    last = len(turns) - 1
    scores = []
    for turn in turns[:last]:
        score = 0.0
        for word in question:
            if word in turn:
                times = 0
                for other in turns:
                    if word in other:
                        times += 1
                score += 1 / times**2
        scores.append(score)
    chosen, used = [last], lengths[last]
    while max(scores) >= 0:
        best = scores.index(max(scores))
        if used + lengths[best] <= budget:
            chosen.append(best)
            used += lengths[best]
        scores[best] = -1
    return sorted(chosen)


# Of turns with as many words, the last comes first, or the first.
EVERY_WORD_ALIKE = (
    "Where the question has many common words, what it asks about is missing: turns that share *common* words with it "
    "come first. A word that stands in most turns says little. Give it much less weight than a rare one, as with "
    "`math.log(n / turns with the word)`."
)


def by_shared_words(turns, lengths, question, budget, later_first):
    def place(turn):
        return len(set(turns[turn]) & set(question)), turn if later_first else -turn

    chosen, room = [len(turns) - 1], budget - lengths[-1]
    for turn in sorted(range(len(turns) - 1), key=place, reverse=True):
        if lengths[turn] <= room:
            chosen.append(turn)
            room -= lengths[turn]
    return sorted(chosen)


@mistake(EVERY_WORD_ALIKE)
def every_word_alike(turns, lengths, question, budget):
    return by_shared_words(turns, lengths, question, budget, later_first=True)


@mistake(EVERY_WORD_ALIKE)
def every_word_alike_the_first_of_equals(turns, lengths, question, budget):
    return by_shared_words(turns, lengths, question, budget, later_first=False)


@mistake(
    "In some conversation the turns together are longer than the budget. Subtract each length from the room that is "
    "left, that of the last turn too."
)
def over_the_budget(turns, lengths, question, budget):
    return choose(turns, [0] * len(turns), question, 0)


@mistake(
    "The turns stand in the order of their scores. The model should read them in the order in which they were said: "
    "sort their numbers at the end."
)
def best_first(turns, lengths, question, budget):
    return choose(turns, lengths, question, budget)[::-1]


@mistake("The last turn is missing. A question often leans on what was just said, so always show it.")
def without_the_last(turns, lengths, question, budget):
    return choose(turns, lengths, question, budget)[:-1]


@mistake(
    "What the question asks about is missing in many conversations, also where it has no common words. Give each turn "
    "a score by the words that it shares with the question, rare ones above all, and take the turns with the *highest* "
    "scores."
)
def recent_alone(turns, lengths, question, budget):
    chosen, room = [], budget
    for turn in reversed(range(len(turns))):
        if lengths[turn] > room:
            break
        chosen.append(turn)
        room -= lengths[turn]
    return sorted(chosen)


@mistake(
    "A turn is there twice: the last one, which is always shown, is taken once more where there is room. Leave it out "
    "when you go through the others."
)
def the_last_twice(turns, lengths, question, budget):
    chosen = choose(turns, lengths, question, budget)
    return [*chosen, len(turns) - 1] if sum(lengths[turn] for turn in chosen) + lengths[-1] <= budget else chosen


@mistake(
    "The last turn alone is shown. Beside it there is room for the turn that the question asks about: look for it."
)
def the_last_alone(turns, lengths, question, budget):
    return [len(turns) - 1]


@mistake(
    "The last turn is ranked like the others, and in some conversations it is left out. A question often leans on what "
    "was just said: begin with it, and fill the room that is left."
)
def the_last_like_any_other(turns, lengths, question, budget):
    def score(turn):
        shared = set(turns[turn]) & set(question)
        return sum(1 / sum(word in other for other in turns) for word in shared)

    chosen, room = [], budget
    for turn in sorted(range(len(turns)), key=score, reverse=True):
        if lengths[turn] <= room:
            chosen.append(turn)
            room -= lengths[turn]
    return sorted(chosen)


EXERCISE = Exercise(
    id="choose",
    title="Retrieval within a budget",
    points=3,
    minutes=18,
    difficulty=3,
    kind="design",
    hints=(
        "Give each turn a score: the words that it shares with the question, each with a weight. Which words should "
        "weigh more, those in many turns or those in few?",
        "Weigh a word by `math.log(n / sum(word in turn for turn in turns))`. What room is left beside the last turn? "
        "Fill it with the others, from the highest score down.",
    ),
    reference=choose,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, A conversation that is too long",
)

"""The best accuracy without the picture: the most frequent answer to each question (Goyal et al. 2017)."""

from collections import Counter

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def blind_best(questions, answers):
    answers_to = {}
    for question, answer in zip(questions, answers, strict=True):
        answers_to.setdefault(question, []).append(answer)
    right = sum(max(own.count(answer) for answer in set(own)) for own in answers_to.values())
    return right / len(questions)


def cases(rng):
    dogs = ["is there a dog?"] * 4 + ["what colour?"] * 2
    names = ("red", "blue", "left", "right")

    def some(n, kinds):
        asked = torch.randint(kinds, (n,), generator=rng).tolist()
        told = (torch.rand(n, generator=rng).square() * 4).long().tolist()  # low numbers are more frequent
        return [f"question {i}?" for i in asked], [names[i] for i in told]

    return [
        Case("two questions by hand", (dogs, ["yes", "yes", "yes", "no", "red", "blue"]), expected=4 / 6),
        Case(
            "mixed up, and one that is asked once",
            (["where?", "who?", "where?", "what?", "where?"], ["left", "red", "right", "left", "right"]),
            expected=4 / 5,
        ),
        Case("60 questions", some(60, 5)),
        Case("97 questions of 11 kinds", some(97, 11)),
    ]


@alternative
def by_pairs(questions, answers):
    best = {}
    for (question, _), n in Counter(zip(questions, answers, strict=True)).items():
        best[question] = max(n, best.get(question, 0))
    return sum(best.values()) / len(questions)


@alternative
def question_by_question(questions, answers):
    right = 0
    for question in set(questions):
        own = [a for q, a in zip(questions, answers, strict=True) if q == question]
        right += max(own.count(answer) for answer in own)
    return right / len(answers)


@alternative
def with_plain_loops(questions, answers):
    counts = {}
    for i in range(len(questions)):
        if questions[i] not in counts:
            counts[questions[i]] = {}
        own = counts[questions[i]]
        own[answers[i]] = own.get(answers[i], 0) + 1
    right = 0
    for own in counts.values():
        most = 0
        for count in own.values():
            if count > most:
                most = count
        right += most
    return right / len(questions)


@mistake(
    "This is the share of the most frequent answer of all. Each *question* may get an answer of its own: count the "
    "answers of each question apart."
)
def one_answer_to_all(questions, answers):
    return max(Counter(answers).values()) / len(answers)


@mistake(
    "This is the mean of the shares, where each question counts once. A question that is asked more often counts more: "
    "add up what is right, and divide by the number of all."
)
def each_question_once(questions, answers):
    shares = []
    for question in set(questions):
        own = [a for q, a in zip(questions, answers, strict=True) if q == question]
        shares.append(max(own.count(answer) for answer in own) / len(own))
    return sum(shares) / len(shares)


@mistake(
    "This is what *random* guessing reaches, among the answers that a question has. The most frequent one is a better "
    "guess."
)
def guesses_at_random(questions, answers):
    of = {}
    for question, answer in zip(questions, answers, strict=True):
        of.setdefault(question, set()).add(answer)
    return sum(1 / len(of[question]) for question in questions) / len(questions)


@mistake(
    "This is what *random* guessing reaches, among the answers that a question has, and each question counts once. The "
    "most frequent answer is a better guess, and a question that is asked more often counts more."
)
def guesses_at_random_each_question_once(questions, answers):
    found = {}
    for question, answer in zip(questions, answers, strict=True):
        found.setdefault(question, set()).add(answer)
    return sum(1 / len(own) for own in found.values()) / len(found)


@mistake("This is a count. Divide by the number of questions.")
def count(questions, answers):
    return float(by_pairs.solution(questions, answers) * len(questions))


@mistake("This is the share that is *wrong*.")
def wrong_ones(questions, answers):
    return 1 - by_pairs.solution(questions, answers)


@mistake("This takes the first answer that a question got. Take the one that it gets most often.")
def first_answer(questions, answers):
    first = {}
    for question, answer in zip(questions, answers, strict=True):
        first.setdefault(question, answer)
    return sum(first[q] == a for q, a in zip(questions, answers, strict=True)) / len(questions)


def _answers_to(questions, answers):
    found = {}
    for question, answer in zip(questions, answers, strict=True):
        found.setdefault(question, []).append(answer)
    return found


def _most(own):
    return max(own.count(answer) for answer in own)


@mistake(
    "A question that is asked four times is counted four times here, each time with all its right answers. Go through "
    "the *different* questions: `set(questions)`, or the keys of a dict."
)
def once_for_each_asking(questions, answers):
    found = _answers_to(questions, answers)
    return sum(_most(found[question]) for question in questions) / len(questions)


@mistake("This divides by the number of *different* questions. Divide by how often was asked: `len(questions)`.")
def over_different_questions(questions, answers):
    found = _answers_to(questions, answers)
    return sum(map(_most, found.values())) / len(found)


@mistake(
    "Shares are added up here, and then divided by the number of all. Add up how many are *right*, and divide once, at "
    "the end."
)
def shares_over_all(questions, answers):
    return sum(_most(own) / len(own) for own in _answers_to(questions, answers).values()) / len(questions)


@mistake(
    "This takes the last answer that a question got, as `dict(zip(...))` does. Take the one that it gets most often."
)
def last_answer(questions, answers):
    last = dict(zip(questions, answers, strict=True))
    return sum(last[q] == a for q, a in zip(questions, answers, strict=True)) / len(questions)


@mistake(
    "`max` of strings is the last one in the alphabet. The most *frequent* is wanted: `max(own, key=own.count)`, or "
    "the largest of the counts."
)
def last_in_the_alphabet(questions, answers):
    return sum(own.count(max(own)) for own in _answers_to(questions, answers).values()) / len(questions)


@mistake("Only one question counts, the last: in the loop, add up with `+=`.")
def last_question_alone(questions, answers):
    return _most(list(_answers_to(questions, answers).values())[-1]) / len(questions)


@mistake("This counts how often the most frequent *question* is asked. Count the answers of each question.")
def most_frequent_question(questions, answers):
    return max(Counter(questions).values()) / len(questions)


@mistake("This counts how many different questions there are. Count how often the best answer to each is right.")
def different_questions(questions, answers):
    return len(set(questions)) / len(questions)


@mistake(
    "This counts different pairs of question and answer. Count how often the best answer to each question is right."
)
def different_pairs(questions, answers):
    return len(set(zip(questions, answers, strict=True))) / len(questions)


@mistake(
    "Only questions that always have one answer count here. The others can be guessed too: with the most frequent "
    "answer, as often as it is right."
)
def always_the_same_answer(questions, answers):
    return sum(len(own) for own in _answers_to(questions, answers).values() if len(set(own)) == 1) / len(questions)


@mistake("This takes the *rarest* answer of each question. Take the most frequent one.")
def rarest_answer(questions, answers):
    return sum(min(map(own.count, own)) for own in _answers_to(questions, answers).values()) / len(questions)


@mistake(
    "Each answer is guessed from those *before* it. The lists are known as a whole here: count all answers of a "
    "question first."
)
def from_those_before(questions, answers):
    seen, right = {}, 0
    for question, answer in zip(questions, answers, strict=True):
        own = seen.setdefault(question, [])
        right += bool(own) and max(own, key=own.count) == answer
        own.append(answer)
    return right / len(questions)


@mistake(
    "Each answer is guessed from all the *others*. That is a fairer guess, but another number: the task counts an "
    "answer itself, too."
)
def from_the_others(questions, answers):
    right = 0
    for i, question in enumerate(questions):
        own = [a for j, a in enumerate(answers) if questions[j] == question and j != i]
        right += bool(own) and max(own, key=own.count) == answers[i]
    return right / len(questions)


@mistake("This is in percent. A share is a number from 0 to 1.")
def in_percent(questions, answers):
    return 100 * by_pairs.solution(questions, answers)


@mistake("This is rounded to two digits. Return the share as it is.")
def rounded(questions, answers):
    return round(by_pairs.solution(questions, answers), 2)


EXERCISE = Exercise(
    id="blind_best",
    title="The best without looking",
    points=2,
    minutes=10,
    difficulty=1,
    kind="code",
    hints=(
        "Collect the answers of each question. What does somebody say who knows how often each answer was right, and "
        "sees nothing?",
        "`answers_to.setdefault(question, []).append(answer)` puts each answer into the list of its question. How "
        "often is the most frequent one in such a list? All these together, of how many?",
    ),
    reference=blind_best,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Does it look?",
)

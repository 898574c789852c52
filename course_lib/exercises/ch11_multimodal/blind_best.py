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
        "A dictionary with the list of answers of each question: `answers_to.setdefault(question, []).append(answer)`. "
        "Then add up the largest `own.count(answer)` of each list, and divide by `len(questions)`.",
    ),
    reference=blind_best,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, Does it look?",
)

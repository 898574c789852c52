"""Two questions about a reply, kept apart: is it well formed, and is it right?"""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def score_replies(replies, answers, letters):
    length = len(answers[0])
    good = [len(reply) == length and all(letter in letters for letter in reply) for reply in replies]
    right = [list(reply) == list(answer) for reply, answer in zip(replies, answers, strict=True)]
    return {"format": sum(good) / len(replies), "right": sum(right) / len(replies)}


def cases(rng):
    letters = ["a", "b", "c", "d"]
    answers = [[letters[i] for i in torch.randint(4, (3,), generator=rng)] for _ in range(8)]
    replies = [list(answer) for answer in answers]
    replies[0] = replies[0] + ["a"]
    replies[1] = replies[1][:2]
    replies[2] = [";", *replies[2][1:]]
    replies[3] = [letters[(letters.index(x) + 1) % 4] for x in replies[3]]
    replies[4] = replies[4][:1]
    various = [["a", "b"], ["b", "a"], ["a", "b", ";"], ["user", "b"], [], ["a"], ["ab"], ["ba"]]
    one_each = [["a"], ["b"], ["c"]]
    return [
        Case("replies of all kinds", (various, [["a", "b"]] * 8, letters), expected={"format": 0.25, "right": 0.125}),
        Case("eight, five of them spoilt", (replies, answers, letters), expected={"format": 0.5, "right": 0.375}),
        Case("nothing but letters", ([["a", "b"], ["a"], ["a"]], one_each, letters)),
        Case("all right", (answers, answers, letters), expected={"format": 1.0, "right": 1.0}),
    ]


@alternative
def by_counting(replies, answers, letters):
    good = right = 0
    for reply, answer in zip(replies, answers, strict=True):
        good += len(reply) == len(answer) and set(reply) <= set(letters)
        right += tuple(reply) == tuple(answer)
    return {"format": good / len(answers), "right": right / len(answers)}


def share(truths):
    return sum(truths) / len(truths)


@mistake(
    "A reply of the wrong length counts as well formed. It needs as many tokens as the answer, and all of them have to "
    "be letters."
)
def any_length(replies, answers, letters):
    right = score_replies(replies, answers, letters)["right"]
    return {"format": share([all(token in letters for token in reply) for reply in replies]), "right": right}


@mistake(
    "A reply of the right length counts as well formed although one of its tokens is not in `letters`. All of them "
    "have to be."
)
def any_token(replies, answers, letters):
    right = score_replies(replies, answers, letters)["right"]
    return {"format": share([len(reply) == len(answers[0]) for reply in replies]), "right": right}


@mistake("A reply that is too short counts as well formed. It needs exactly as many tokens as the answer, no fewer.")
def short_is_enough(replies, answers, letters):
    good = [len(reply) <= len(answers[0]) and all(token in letters for token in reply) for reply in replies]
    return {"format": share(good), "right": score_replies(replies, answers, letters)["right"]}


@mistake(
    "The tokens are joined into one string before they are counted or compared, so `ab`, a single token, passes for "
    "`a` and `b`. Compare the lists of tokens."
)
def joined_into_a_string(replies, answers, letters):
    as_letters = [list("".join(reply)) for reply in replies]
    return score_replies(as_letters, answers, letters)


@mistake(
    "A reply counts as right if it is the answer to any of the questions. Compare each with its own answer: "
    "`zip(replies, answers)`."
)
def answer_to_any_question(replies, answers, letters):
    right = [list(reply) in [list(answer) for answer in answers] for reply in replies]
    return {"format": score_replies(replies, answers, letters)["format"], "right": share(right)}


@mistake(
    "A reply that begins with the right answer and goes on counts as right. It has to stop as well: compare the whole "
    "reply with the answer."
)
def beginning_is_enough(replies, answers, letters):
    right = [reply[: len(answer)] == answer for reply, answer in zip(replies, answers, strict=True)]
    return {"format": score_replies(replies, answers, letters)["format"], "right": share(right)}


@mistake(
    "`zip` stops at the end of the shorter list, so an empty reply counts as right. Compare the lists themselves: "
    "`list(reply) == list(answer)`."
)
def as_far_as_the_shorter(replies, answers, letters):
    right = []
    for reply, answer in zip(replies, answers, strict=True):
        right.append(all(a == b for a, b in zip(reply, answer, strict=False)))
    return {"format": score_replies(replies, answers, letters)["format"], "right": share(right)}


@mistake("This compares the letters without their order. The letters reversed are the same letters: compare the lists.")
def in_any_order(replies, answers, letters):
    right = [sorted(reply) == sorted(answer) for reply, answer in zip(replies, answers, strict=True)]
    return {"format": score_replies(replies, answers, letters)["format"], "right": share(right)}


@mistake(
    "The share of right replies is taken among the well-formed ones. Take it among all replies: divide by "
    "`len(replies)`."
)
def among_the_well_formed(replies, answers, letters):
    score = score_replies(replies, answers, letters)
    return {"format": score["format"], "right": score["right"] / max(score["format"], 1e-9)}


EXERCISE = Exercise(
    id="score_replies",
    title="Well formed, and right",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "Two questions about each reply: does it have the right length, and only letters? Is it equal to its answer?",
        "`right = sum(list(r) == list(a) for r, a in zip(replies, answers)) / len(replies)`.",
    ),
    reference=score_replies,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Taught, or elicited?",
)

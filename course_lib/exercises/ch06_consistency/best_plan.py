"""A plan for an evaluation: how many questions to write, and how often to ask each."""

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

CLOSE = 1.02  # an error at most 2% above the smallest one is as good


def best_plan(budget, question_cost, answer_cost, between, within):
    plans = []
    for answers in range(1, budget // answer_cost + 1):
        questions = budget // (question_cost + answers * answer_cost)
        if questions > 0:
            plans.append(((between + within / answers) / questions, [questions, answers]))
    return min(plans)[1]


def cases(rng):
    def number(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    return [
        Case("questions cost nothing", (whole(150, 250), 0, 1, number(0.05, 0.1), number(0.1, 0.15))),
        Case("questions are dear, and much alike", (3000, whole(40, 60), 1, number(0.01, 0.02), number(0.2, 0.23))),
        Case("questions are dear, and differ much", (3000, whole(40, 60), 1, number(0.1, 0.12), number(0.1, 0.12))),
        Case("all answers to a question are alike", (whole(400, 600), 10, 2, number(0.2, 0.25), 0.0)),
        Case("answers cost more than questions", (5000, 5, whole(20, 30), number(0.05, 0.1), number(0.1, 0.2))),
        Case("questions cost as much as ten answers", (4000, 10 * (price := whole(2, 5)), price, 0.05, 0.2)),
        Case("enough for one question, asked once", ((price := whole(6, 9)) + 3, 3, price, number(0.1, 0.12), 0.1)),
    ]


def run_case(subject, budget, question_cost, answer_cost, between, within):
    """Judge the plan by its error, beside the smallest one that the budget allows."""
    plan = subject(budget, question_cost, answer_cost, between, within)
    if not isinstance(plan, list | tuple) or len(plan) != 2:
        raise WrongAnswer("return two whole numbers in a list: the questions, and the answers to each.")
    questions, answers = plan
    if not all(isinstance(n, int) for n in plan):
        raise WrongAnswer("both are whole numbers (`int`).")
    if questions < 1 or answers < 1:
        return "no question, or no answer"

    def error(n, k):
        return math.sqrt((between + within / k) / n)

    def affordable_error(n, k):
        return error(n, k) if n * (question_cost + k * answer_cost) <= budget else math.inf

    most = (budget - question_cost) // answer_cost
    affordable = {k: budget // (question_cost + k * answer_cost) for k in range(1, most + 1)}
    best = min(affordable, key=lambda k: error(affordable[k], k))
    good = CLOSE * error(affordable[best], best)
    if affordable_error(questions, answers) <= good:
        return "as good as the best"
    if affordable_error(answers, questions) <= good:
        return "as good as the best, if the two numbers are exchanged"
    if affordable_error(questions, answers) == math.inf:
        return "dearer than the budget allows"
    if error(affordable[answers], answers) <= good:
        return "money is left for more questions"
    return "too many answers to each question" if answers > best else "too few answers to each question"


@alternative
def by_the_square_root(budget, question_cost, answer_cost, between, within):
    # Where the derivative of (between + within / k) (question_cost + k answer_cost) is 0.
    ideal = math.sqrt(question_cost * within / (answer_cost * between))
    near = {max(1, math.floor(ideal)), max(1, math.ceil(ideal))}
    plans = [(budget // (question_cost + k * answer_cost), k) for k in near]
    return list(min(plans, key=lambda plan: (between + within / plan[1]) / max(plan[0], 1e-9)))


@alternative
def until_it_gets_worse(budget, question_cost, answer_cost, between, within):
    def variance(k):
        n = budget // (question_cost + k * answer_cost)
        return (between + within / k) / n if n else math.inf

    k = min(range(1, 101), key=variance)
    return (budget // (question_cost + k * answer_cost), k)


@alternative
def with_a_plain_loop(budget, question_cost, answer_cost, between, within):
    smallest, best = None, None
    for answers in range(1, budget // answer_cost + 1):
        questions = budget // (question_cost + answers * answer_cost)
        if questions == 0:
            break
        variance = (between + within / answers) / questions
        if smallest is None or variance < smallest:
            smallest = variance
            best = [questions, answers]
    return best


@mistake(
    "There are too few answers to each question, perhaps one. Where a new question costs much more than a further "
    "answer, and questions are alike, ask each more often."
)
def as_many_questions_as_possible(budget, question_cost, answer_cost, between, within):
    return [budget // (question_cost + answer_cost), 1]


FEW_QUESTIONS = (
    "The whole budget goes into few questions, asked very often. Further answers shrink only the variance within a "
    "question; how much questions differ stays."
)


@mistake(FEW_QUESTIONS)
def one_question(budget, question_cost, answer_cost, between, within):
    return [1, (budget - question_cost) // answer_cost]


@mistake(FEW_QUESTIONS)
def as_many_answers_as_possible(budget, question_cost, answer_cost, between, within):
    return [2, (budget - 2 * question_cost) // (2 * answer_cost)]


TOO_DEAR = (
    "Some plan costs more than the budget. A question costs `question_cost`, and each of its answers `answer_cost` "
    "more: that together, times the number of questions, rounded down with `//`."
)
SHARED = (
    "All answers are counted as if they were independent. Answers to one question share its difficulty: the variance "
    "is (between + within / answers) / questions."
)


def _best_by(budget, question_cost, answer_cost, variance, questions_for):
    """The plan with the smallest variance, with another formula for it, or for the number of questions."""
    plans = []
    for answers in range(1, budget // answer_cost + 1):
        questions = questions_for(answers)
        if questions > 0:
            plans.append((variance(questions, answers), [questions, answers]))
    return min(plans)[1]


@mistake(TOO_DEAR)
def rounded_up(budget, question_cost, answer_cost, between, within):
    return _best_by(
        budget,
        question_cost,
        answer_cost,
        lambda n, k: (between + within / k) / n,
        lambda k: math.ceil(budget / (question_cost + k * answer_cost)),
    )


@mistake(TOO_DEAR)
def one_question_paid_for(budget, question_cost, answer_cost, between, within):
    return _best_by(
        budget,
        question_cost,
        answer_cost,
        lambda n, k: (between + within / k) / n,
        lambda k: (budget - question_cost) // (k * answer_cost),
    )


@mistake(TOO_DEAR)
def without_the_questions(budget, question_cost, answer_cost, between, within):
    answers = best_plan(budget, question_cost, answer_cost, between, within)[1]
    return [budget // (answers * answer_cost) + 1, answers]


@mistake("Always ten answers: that is too many for some of these questions, and too few for others.")
def always_ten(budget, question_cost, answer_cost, between, within):
    return [budget // (question_cost + 10 * answer_cost), 10]


@mistake(FEW_QUESTIONS)
def number_of_answers_alone(budget, question_cost, answer_cost, between, within):
    return _best_by(
        budget,
        question_cost,
        answer_cost,
        lambda n, k: (between + within) / (n * k),
        lambda k: budget // (question_cost + k * answer_cost),
    )


@mistake("This is the plan with the *largest* error that the budget allows: look for the smallest variance.")
def the_largest_error(budget, question_cost, answer_cost, between, within):
    return _best_by(
        budget,
        question_cost,
        answer_cost,
        lambda n, k: -(between + within / k) / n,
        lambda k: budget // (question_cost + k * answer_cost),
    )


@mistake(SHARED)
def all_answers_alike(budget, question_cost, answer_cost, between, within):
    return best_plan(budget, question_cost, answer_cost, 1e-9, between + within)


@mistake("The two numbers are exchanged: return the questions first, then the answers to each.")
def exchanged(budget, question_cost, answer_cost, between, within):
    return best_plan(budget, question_cost, answer_cost, between, within)[::-1]


@mistake(
    "Where questions are dear and much alike, there are too few answers to each. Try *all* numbers of answers that the "
    "budget allows: not ten at most, and not only until it first gets worse, since with whole numbers of questions the "
    "variance goes up and down."
)
def ten_at_most(budget, question_cost, answer_cost, between, within):
    answers = min(10, best_plan(budget, question_cost, answer_cost, between, within)[1])
    return [budget // (question_cost + answers * answer_cost), answers]


@mistake(
    "The second part of the variance, within / answers, is not divided by the number of questions here. The brackets "
    "in the formula hold both parts."
)
def within_not_shared(budget, question_cost, answer_cost, between, within):
    plans = []
    for answers in range(1, (budget - question_cost) // answer_cost + 1):
        questions = budget // (question_cost + answers * answer_cost)
        plans.append((between / questions + within / answers, [questions, answers]))
    return min(plans)[1]


@mistake(SHARED)
def between_left_out(budget, question_cost, answer_cost, between, within):
    return _best_by(
        budget,
        question_cost,
        answer_cost,
        lambda n, k: (within / (n * k), k),  # of equals, the one with fewer answers
        lambda k: budget // (question_cost + k * answer_cost),
    )


EXERCISE = Exercise(
    id="best_plan",
    title="Questions or answers?",
    points=3,
    minutes=15,
    difficulty=2,
    kind="design",
    hints=(
        "Fix the number of answers to a question. How many questions can you then pay for, and what is the variance? "
        "Now try all numbers of answers.",
        "A question with its answers costs `question_cost + answers * answer_cost`: `//` tells how many the budget "
        "pays for. Keep the plan whose variance, by the formula above, is the smallest so far.",
    ),
    reference=best_plan,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Questions or answers?",
)

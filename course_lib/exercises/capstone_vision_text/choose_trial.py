"""Choosing among trials: by the validation score, within a budget, and never by the test score."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def choose_trial(trials, budget):
    fit = [t for t in trials if t["seconds"] <= budget and not math.isnan(t["validation"])]
    best = max(fit, key=lambda t: (t["validation"], -t["seconds"]), default=None)
    return best and best["name"]


def trial(name, validation, test, seconds):
    return {"name": name, "validation": validation, "test": test, "seconds": seconds}


def cases(rng):
    low, high = (torch.rand(2, generator=rng) * 0.1).tolist()
    best = 0.5 + low
    # Nothing in a name may tell which one to choose.
    names = [f"trial {n}" for n in torch.randperm(1000, generator=rng)[:14].tolist()]
    several = [
        trial(names[0], math.nan, math.nan, 40),  # it diverged
        trial(names[1], best + 0.2, 0.4 + high, 130),  # too slow
        trial(names[2], best, 0.46 + high, 100),  # the best, but slower
        trial(names[3], best, 0.44 + high, 70),  # the best
        trial(names[4], best - 0.02, 0.61 + high, 90),  # lucky in the test
        trial(names[5], best - 0.2, 0.3 + high, 20),  # quick
    ]
    order = torch.randperm(len(several), generator=rng).tolist()
    exactly = [
        trial(names[6], 0.4 + low, 0.5, 60),
        trial(names[7], 0.3 + low, 0.6, 50),
        trial(names[8], 0.5 + low, 0.55, 61),
    ]
    v = 0.4 + low
    equals = [
        trial(names[9], v, 0.30, 60),
        trial(names[10], v, 0.35, 80),  # the slowest
        trial(names[11], v, 0.40, 50),  # the fastest
        trial(names[12], v, 0.60, 65),  # lucky in the test
        trial(names[13], v, 0.33, 55),
    ]
    return [
        Case("four trials by hand", ([several[i] for i in (1, 4, 2, 3)], 120)),
        Case("one that diverged comes first", (several, 120)),
        Case("in another order", ([several[i] for i in order], 120)),
        Case("the best takes exactly the budget", (exactly, 60)),
        Case("five equally good", (equals, 120)),
        Case("none fits", (several, 10)),
        Case(
            "only one has a score, and that is 0",
            ([trial(names[0], 0.0, 0.2, 60), trial(names[1], math.nan, 0.5, 40)], 90),
        ),
        Case(
            "the best was never tested",
            ([trial(names[0], best, math.nan, 60), trial(names[1], best - 0.1, 0.5, 40)], 90),
            expected=names[0],
        ),
        Case("all that fit have diverged", ([trial(names[i], math.nan, 0.3, 10 * i + 10) for i in range(3)], 120)),
    ]


@alternative
def by_sorting(trials, budget):
    fit = [t for t in trials if t["seconds"] <= budget and t["validation"] == t["validation"]]
    fit.sort(key=lambda t: t["seconds"])
    fit.sort(key=lambda t: t["validation"], reverse=True)  # stable: among equals the fastest stays first
    return fit[0]["name"] if fit else None


@alternative
def by_loop(trials, budget):
    chosen = None
    for t in trials:
        if t["seconds"] > budget or not t["validation"] >= 0:
            continue
        if chosen is None or (t["validation"], -t["seconds"]) > (chosen["validation"], -chosen["seconds"]):
            chosen = t
    return None if chosen is None else chosen["name"]


def chosen_by(trials, budget, key):
    fit = [t for t in trials if t["seconds"] <= budget and not math.isnan(t["validation"])]
    return max(fit, key=key, default={"name": None})["name"]


@mistake(
    "This chooses by the *test* score. Then the test has taken part in the choice, and its score is no longer that of "
    "a model which never met it. Choose by `validation`."
)
def by_test(trials, budget):
    return chosen_by(trials, budget, lambda t: t["test"])


@mistake(
    "This adds the test score to the validation score. Whatever part the test has in the choice, it can no longer "
    "judge the result. Choose by `validation` alone."
)
def by_both(trials, budget):
    return chosen_by(trials, budget, lambda t: t["validation"] + t["test"])


@mistake("Equal on validation, and this lets the *test* score decide. Let the time decide.")
def test_among_equals(trials, budget):
    return chosen_by(trials, budget, lambda t: (t["validation"], t["test"]))


@mistake("This ignores the budget: the trial that it chooses takes too long.")
def without_budget(trials, budget):
    return choose_trial(trials, math.inf)


@mistake(
    "A trial whose *test* score is NaN is left out here. The test has no part in the choice: ask about `validation` "
    "alone."
)
def without_the_untested(trials, budget):
    return choose_trial([t for t in trials if not math.isnan(t["test"])], budget)


@mistake("A trial that takes exactly the budget fits. Compare with `<=`.")
def less_than_the_budget(trials, budget):
    return choose_trial(trials, budget - 1e-9)


@mistake("This is the fastest trial that fits. The budget is a limit, not the goal: take the best score within it.")
def fastest(trials, budget):
    return chosen_by(trials, budget, lambda t: -t["seconds"])


@mistake("Among trials with the same validation score, this takes the slowest. Take the fastest.")
def slowest_among_equals(trials, budget):
    return chosen_by(trials, budget, lambda t: (t["validation"], t["seconds"]))


@mistake("Among trials with the same validation score, this takes the first of the list. Take the fastest.")
def first_among_equals(trials, budget):
    return chosen_by(trials, budget, lambda t: t["validation"])


@mistake(
    "Among trials with the same validation score, this takes the last of the list: a loop with `>=` does that. Take "
    "the fastest."
)
def last_among_equals(trials, budget):
    return chosen_by(trials[::-1], budget, lambda t: t["validation"])


@mistake(
    "The trial that diverged is chosen here. Its score is NaN, and nothing is greater than NaN, so `max` keeps it "
    "once it comes first. Leave out trials whose score is NaN."
)
def nan_wins(trials, budget):
    chosen = None
    for t in trials:
        if t["seconds"] > budget:
            continue
        better = chosen is not None and t["validation"] > chosen["validation"]
        tie = chosen is not None and t["validation"] == chosen["validation"] and t["seconds"] < chosen["seconds"]
        if chosen is None or better or tie:
            chosen = t
    return chosen and chosen["name"]


def by_score_and_time(t):
    return t["validation"], -t["seconds"]


@mistake(
    "Where no trial fits, `max` has nothing to choose from and raises an error. Give it a `default`, or ask first."
)
def nothing_to_choose_from(trials, budget):
    fit = [t for t in trials if t["seconds"] <= budget and not math.isnan(t["validation"])]
    return max(fit, key=by_score_and_time)["name"]


@mistake(
    "Where no trial fits, there is no first one: `[0]` of an empty list raises an error. Ask first whether any is left."
)
def no_first_one(trials, budget):
    fit = [t for t in trials if t["seconds"] <= budget and not math.isnan(t["validation"])]
    return sorted(fit, key=by_score_and_time)[::-1][0]["name"]


@mistake(
    "A trial that diverged counts as one with the score 0 here, and is chosen where no other is better. It has no "
    "score at all: leave it out."
)
def nan_is_0(trials, budget):
    with_0 = [{**t, "validation": 0.0 if math.isnan(t["validation"]) else t["validation"]} for t in trials]
    return choose_trial(with_0, budget)


@mistake(
    "The best score begins at 0 here, so a trial whose score is 0 is never chosen. Begin with no trial at all, "
    "`None`, and take the first that fits."
)
def from_0(trials, budget):
    chosen, best = None, 0
    for t in trials:
        if t["seconds"] <= budget and t["validation"] > best:
            chosen, best = t, t["validation"]
    for t in trials:
        if chosen and t["validation"] == best and t["seconds"] < chosen["seconds"]:
            chosen = t
    return chosen and chosen["name"]


@mistake(
    "The best score begins at 0 here, so a trial whose score is 0 is never chosen; and among equals it is the "
    "first of the list, not the fastest. Begin with no trial at all, `None`, and let the time decide among equals."
)
def from_0_first_among_equals(trials, budget):
    chosen, best = None, 0
    for t in trials:
        if t["seconds"] <= budget and t["validation"] > best:
            chosen, best = t["name"], t["validation"]
    return chosen


@mistake(
    "This takes the largest validation score and nothing else: among equals it takes the first of the list, not the "
    "fastest, and a NaN that comes first stays. Leave NaN out, and let the time decide among equals."
)
def score_alone(trials, budget):
    fit = [t for t in trials if t["seconds"] <= budget]
    return max(fit, key=lambda t: t["validation"], default={"name": None})["name"]


@mistake(
    "This takes the largest validation score and nothing else: among equals it takes the first of the list, not the "
    "fastest, a NaN that comes first stays, and where no trial fits, `max` raises an error. Leave NaN out, let the "
    "time decide among equals, and give `max` a `default`."
)
def score_alone_without_default(trials, budget):
    return max((t for t in trials if t["seconds"] <= budget), key=lambda t: t["validation"])["name"]


EXERCISE = Exercise(
    id="choose_trial",
    title="Which trial to go on with?",
    points=2,
    minutes=10,
    difficulty=1,
    kind="code",
    hints=(
        "First leave out what cannot be chosen: too slow, or a score that is NaN. What is left is compared by two "
        "numbers, one after the other.",
        "`math.isnan` finds NaN. `max` has a `key`, which may return a pair: the second number of it counts where "
        "the first ones are equal. And it has a `default`, for an empty list.",
    ),
    reference=choose_trial,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, Choose by another artist",
)

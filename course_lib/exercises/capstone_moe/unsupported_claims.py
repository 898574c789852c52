"""Which sentences do not belong on a model card, and why."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def unsupported_claims(claims):
    found = {}
    for claim in claims:
        if claim["control"] is None:
            found[claim["says"]] = "no control"
        elif claim["chosen_on"] == claim["measured_on"]:
            found[claim["says"]] = "chosen on what it is measured on"
        elif abs(claim["value"] - claim["control"]) < 2 * claim["error"]:
            found[claim["says"]] = "within the error"
    return found


def a_claim(says, value, control, error=0.01, chosen_on="validation", measured_on="test"):
    return {
        "says": says,
        "value": value,
        "control": control,
        "error": error,
        "chosen_on": chosen_on,
        "measured_on": measured_on,
    }


def cases(rng):
    def any_claim(i):
        kind, step, error = torch.randint(4, (3,), generator=rng).tolist()
        error = 0.01 * (1 + error)
        # 0.5, 1.5, 3 or 4 errors apart, to either side: never at the border.
        apart = (0.5, 1.5, 3.0, 4.0)[step] * error * (-1) ** i
        where = ("validation", "test") if kind != 1 else ("test", "test")
        return a_claim(f"sentence {i}", 2.0 + apart, None if kind == 0 else 2.0, error, *where)

    better = a_claim("better than its twin", 1.90, 2.00)
    worse = a_claim("worse than the wide one", 1.90, 1.80)
    alike = a_claim("better than last year", 1.90, 1.91)
    alone = a_claim("very good", 1.20, None)
    tuned = a_claim("best of forty", 1.70, 2.00, chosen_on="test")
    return [
        Case("one that may stay", ([better],), expected={}),
        Case("one without a control", ([alone],), expected={"very good": "no control"}),
        Case("one chosen on the test text", ([tuned],), expected={"best of forty": "chosen on what it is measured on"}),
        Case("one within the error", ([better, alike],), expected={"better than last year": "within the error"}),
        Case("a clear loss is a clear result", ([worse, better],), expected={}),
        Case(
            "several things wrong: the first counts",
            ([a_claim("all of it", 1.9, None, chosen_on="test"), a_claim("two", 1.9, 1.9, chosen_on="test")],),
            expected={"all of it": "no control", "two": "chosen on what it is measured on"},
        ),
        Case(
            "chosen and measured on validation text",
            ([a_claim("half way", 1.0, 2.0, measured_on="validation")],),
            expected={"half way": "chosen on what it is measured on"},
        ),
        Case("twelve claims", ([any_claim(i) for i in range(12)],)),
        Case("no claims", ([],), expected={}),
    ]


REASONS = ("no control", "chosen on what it is measured on", "within the error")


@alternative
def with_a_helper(claims):
    def reason(claim):
        if claim["control"] is None:
            return REASONS[0]
        if claim["chosen_on"] == claim["measured_on"]:
            return REASONS[1]
        low, high = claim["control"] - 2 * claim["error"], claim["control"] + 2 * claim["error"]
        return REASONS[2] if low < claim["value"] < high else None

    return {claim["says"]: reason(claim) for claim in claims if reason(claim)}


@alternative
def backwards(claims):
    # The least important reason first; those that come later replace it.
    found = {}
    for claim in claims:
        if claim["control"] is not None and abs(claim["value"] - claim["control"]) / claim["error"] < 2:
            found[claim["says"]] = REASONS[2]
        if claim["chosen_on"] == claim["measured_on"]:
            found[claim["says"]] = REASONS[1]
        if claim["control"] is None:
            found[claim["says"]] = REASONS[0]
    return found


def judged(claims, tests):
    """For each claim the first reason whose test holds."""
    found = {claim["says"]: [why for why, test in tests if test(claim)] for claim in claims}
    return {says: reasons[0] for says, reasons in found.items() if reasons}


def alone(claim):
    return claim["control"] is None


def tuned(claim):
    return claim["chosen_on"] == claim["measured_on"]


def apart(claim):
    """How many errors lie between value and control; many if there is no control."""
    return 1e9 if alone(claim) else (claim["value"] - claim["control"]) / claim["error"]


def close(claim):
    return abs(apart(claim)) < 2


@mistake("One error is not enough: a difference of up to *two* standard errors may well be luck.")
def one_error(claims):
    return judged(claims, zip(REASONS, (alone, tuned, lambda claim: abs(apart(claim)) < 1), strict=True))


@mistake(
    "A result that is clearly *worse* than its control is marked as well. It is as well supported as a better one, and "
    "belongs on the card: take the absolute value of the difference."
)
def losses_are_hidden(claims):
    return judged(claims, zip(REASONS, (alone, tuned, lambda claim: apart(claim) < 2), strict=True))


@mistake(
    "A value clearly *above* its control is marked as well. Whether it is better or worse, it is a result: take the "
    "absolute value of the difference."
)
def gains_are_hidden(claims):
    return judged(claims, zip(REASONS, (alone, tuned, lambda claim: alone(claim) or apart(claim) > -2), strict=True))


@mistake("The order of the reasons: a missing control comes first, then how the claim was chosen, then the error.")
def other_order(claims):
    return judged(claims, ((REASONS[1], tuned), (REASONS[0], alone), (REASONS[2], close)))


@mistake("The order of the reasons: how the claim was chosen comes before the error.")
def error_first(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[2], close), (REASONS[1], tuned)))


@mistake(
    "Only the test text counts here. What was chosen on validation text and measured on the same text is just as "
    "flattering: compare the two entries with each other."
)
def only_the_test_text(claims):
    return judged(claims, zip(REASONS, (alone, lambda claim: claim["chosen_on"] == "test", close), strict=True))


@mistake(
    "How a claim was chosen is not asked here. The best of many, chosen on the test text, is better by luck alone."
)
def choice_ignored(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[2], close)))


@mistake("The error is not asked here. A difference smaller than two of them may well be luck.")
def error_ignored(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[1], tuned)))


@mistake("A claim without a control is not marked. Without one, nobody knows whether the number is good.")
def no_control_is_fine(claims):
    return judged(claims, ((REASONS[1], tuned), (REASONS[2], close)))


@mistake("These are the claims that may stay. Wanted are those that may not, each with its reason.")
def those_that_stay(claims):
    return {claim["says"]: "" for claim in claims if not (alone(claim) or tuned(claim) or close(claim))}


EXERCISE = Exercise(
    id="unsupported_claims",
    title="What may stand on the card",
    points=2,
    minutes=10,
    difficulty=2,
    hints=(
        "For each claim three questions in their order, and the first that applies is its reason. If none applies, the "
        "claim is not in the answer.",
        '`if claim["control"] is None`, `elif claim["chosen_on"] == claim["measured_on"]`, `elif abs(claim["value"] - '
        'claim["control"]) < 2 * claim["error"]`.',
    ),
    reference=unsupported_claims,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, The model card",
)

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
        elif claim["general"] and claim["seeds"] == 1:
            found[claim["says"]] = "one seed"
        elif abs(claim["value"] - claim["control"]) < 2 * claim["error"]:
            found[claim["says"]] = "within the error"
    return found


def a_claim(says, value, control, error=0.01, chosen_on="validation", measured_on="test", general=False, seeds=1):
    return {
        "says": says,
        "value": value,
        "control": control,
        "error": error,
        "chosen_on": chosen_on,
        "measured_on": measured_on,
        "general": general,
        "seeds": seeds,
    }


def cases(rng):
    def any_claim(i):
        kind, step, error, general, seeds = torch.randint(4, (5,), generator=rng).tolist()
        error = 0.01 * (1 + error)
        # To either side of two errors, and never at the border.
        apart = (0.5, 1.9, 2.1, 4.0)[step] * error * (-1) ** i
        where = ("validation", "test") if kind != 1 else ("test", "test")
        about = {"general": general > 1, "seeds": 1 + seeds}
        return a_claim(f"sentence {i}", 2.0 + apart, None if kind == 0 else 2.0, error, *where, **about)

    # Other numbers each time, as far apart as before.
    more, less = (torch.rand(2, generator=rng) / 10).tolist()
    better = a_claim("better than its twin", 1.90, 2.00)
    worse = a_claim("worse than the wide one", 1.90, 1.80)
    alike = a_claim("better than last year", 1.90 + more, 1.91 + more)
    alone = a_claim("very good", 1.20 + less, None)
    tuned = a_claim("best of forty", 1.70, 2.00 + more, chosen_on="test")
    return [
        Case("one that may stay", ([better],), expected={}),
        Case("one without a control", ([alone],), expected={"very good": "no control"}),
        Case("one chosen on the test text", ([tuned],), expected={"best of forty": "chosen on what it is measured on"}),
        Case("one within the error", ([better, alike],), expected={"better than last year": "within the error"}),
        Case(
            "a kind of model, from one seed",
            ([a_claim("mixtures are better", 1.90, 2.00 + less, general=True)],),
            expected={"mixtures are better": "one seed"},
        ),
        Case(
            "a kind of model, from five seeds", ([a_claim("mixtures", 1.90, 2.00, general=True, seeds=5)],), expected={}
        ),
        Case(
            "a kind of model, one seed, within the error",
            ([a_claim("about alike", 1.90 + less, 1.91 + less, general=True)],),
            expected={"about alike": "one seed"},
        ),
        Case("a control of 0 is a control", ([a_claim("above 0", 0.5, 0.0)],), expected={}),
        Case(
            "just within two errors",
            ([a_claim("close", 2.019 + more, 2.0 + more), a_claim("apart", 2.021 + more, 2.0 + more)],),
            expected={"close": "within the error"},
        ),
        # In halves and quarters nothing is rounded, so the border can be asked for.
        Case("two errors to the digit are not less than two", ([a_claim("apart", 1.5, 1.0, error=0.25)],), expected={}),
        Case("a clear loss is a clear result", ([worse, better],), expected={}),
        Case(
            "several things wrong: the first counts",
            (
                [
                    a_claim("all of it", 1.9 + more, None, chosen_on="test"),
                    a_claim("two", 1.9 + less, 1.9 + less, chosen_on="test"),
                    a_claim("another two", 1.9 + less, 2.0 + more, chosen_on="test", general=True),
                ],
            ),
            expected={
                "all of it": "no control",
                "two": "chosen on what it is measured on",
                "another two": "chosen on what it is measured on",
            },
        ),
        Case(
            "chosen and measured on validation text",
            ([a_claim("half way", 1.0 + less, 2.0, measured_on="validation")],),
            expected={"half way": "chosen on what it is measured on"},
        ),
        Case("twelve claims", ([any_claim(i) for i in range(12)],)),
        Case("no claims", ([],), expected={}),
    ]


REASONS = ("no control", "chosen on what it is measured on", "one seed", "within the error")


@alternative
def with_a_helper(claims):
    def reason(claim):
        if claim["control"] is None:
            return REASONS[0]
        if claim["chosen_on"] == claim["measured_on"]:
            return REASONS[1]
        if claim["general"] and claim["seeds"] < 2:
            return REASONS[2]
        low, high = claim["control"] - 2 * claim["error"], claim["control"] + 2 * claim["error"]
        return REASONS[3] if low < claim["value"] < high else None

    return {claim["says"]: reason(claim) for claim in claims if reason(claim)}


@alternative
def backwards(claims):
    # The least important reason first; those that come later replace it.
    found = {}
    for claim in claims:
        if claim["control"] is not None and abs(claim["value"] - claim["control"]) / claim["error"] < 2:
            found[claim["says"]] = REASONS[3]
        if claim["general"] and claim["seeds"] == 1:
            found[claim["says"]] = REASONS[2]
        if claim["chosen_on"] == claim["measured_on"]:
            found[claim["says"]] = REASONS[1]
        if claim["control"] is None:
            found[claim["says"]] = REASONS[0]
    return found


def judged(claims, tests):
    """For each claim the first reason whose test holds."""
    tests = tuple(tests)  # a zip would be used up by the first claim
    found = {claim["says"]: [why for why, test in tests if test(claim)] for claim in claims}
    return {says: reasons[0] for says, reasons in found.items() if reasons}


def alone(claim):
    return claim["control"] is None


def tuned(claim):
    return claim["chosen_on"] == claim["measured_on"]


def one_seed(claim):
    return claim["general"] and claim["seeds"] == 1


def apart(claim):
    """How many errors lie between value and control; many if there is no control."""
    return 1e9 if alone(claim) else (claim["value"] - claim["control"]) / claim["error"]


def close(claim):
    return abs(apart(claim)) < 2


@mistake("One error is not enough: a difference of up to *two* standard errors may well be luck.")
def one_error(claims):
    return judged(claims, zip(REASONS, (alone, tuned, one_seed, lambda claim: abs(apart(claim)) < 1), strict=True))


@mistake(
    "A value clearly *below* its control is marked as well. Whether it is better or worse, it is a result and belongs "
    "on the card: take the absolute value of the difference."
)
def lower_ones_are_hidden(claims):
    return judged(claims, zip(REASONS, (alone, tuned, one_seed, lambda claim: apart(claim) < 2), strict=True))


@mistake(
    "A value clearly *above* its control is marked as well. Whether it is better or worse, it is a result and belongs "
    "on the card: take the absolute value of the difference."
)
def higher_ones_are_hidden(claims):
    return judged(
        claims, zip(REASONS, (alone, tuned, one_seed, lambda claim: alone(claim) or apart(claim) > -2), strict=True)
    )


@mistake("The order of the reasons: a missing control comes first, then how the claim was chosen, then the error.")
def other_order(claims):
    return judged(claims, ((REASONS[1], tuned), (REASONS[0], alone), (REASONS[2], one_seed), (REASONS[3], close)))


@mistake("The order of the reasons: how the claim was chosen comes before the error.")
def error_first(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[3], close), (REASONS[1], tuned), (REASONS[2], one_seed)))


@mistake("The order of the reasons: how the claim was chosen comes before the number of seeds.")
def seeds_first(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[2], one_seed), (REASONS[1], tuned), (REASONS[3], close)))


@mistake("Exactly two errors are enough: within the error is *less than* two, `<` and not `<=`.")
def two_errors_are_within(claims):
    return judged(claims, zip(REASONS, (alone, tuned, one_seed, lambda claim: abs(apart(claim)) <= 2), strict=True))


@mistake(
    "Only the test text counts here. What was chosen on validation text and measured on the same text is just as "
    "flattering: compare the two entries with each other."
)
def only_the_test_text(claims):
    return judged(
        claims, zip(REASONS, (alone, lambda claim: claim["chosen_on"] == "test", one_seed, close), strict=True)
    )


@mistake(
    "How a claim was chosen is not asked here. The best of many, chosen on the test text, is better by luck alone."
)
def choice_ignored(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[2], one_seed), (REASONS[3], close)))


@mistake(
    "A sentence about a *kind* of model is not asked on how many seeds it stands. From one seed nobody knows whether "
    "the next one would turn it around."
)
def seeds_ignored(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[1], tuned), (REASONS[3], close)))


@mistake("One seed is enough for a sentence about *this* model. Strike only those that speak of a kind.")
def one_seed_for_all(claims):
    return judged(claims, zip(REASONS, (alone, tuned, lambda claim: claim["seeds"] == 1, close), strict=True))


@mistake("A general sentence may stay if more than one seed bears it: both have to be asked, `general` and `seeds`.")
def no_general_ones(claims):
    return judged(claims, zip(REASONS, (alone, tuned, lambda claim: claim["general"], close), strict=True))


@mistake("A control of 0.0 is a control. Ask `is None`: `not` takes 0 for missing.")
def zero_is_no_control(claims):
    return judged(claims, zip(REASONS, (lambda claim: not claim["control"], tuned, one_seed, close), strict=True))


@mistake("The error is not asked here. A difference smaller than two of them may well be luck.")
def error_ignored(claims):
    return judged(claims, ((REASONS[0], alone), (REASONS[1], tuned), (REASONS[2], one_seed)))


@mistake("A claim without a control is not marked. Without one, nobody knows whether the number is good.")
def no_control_is_fine(claims):
    return judged(claims, ((REASONS[1], tuned), (REASONS[2], one_seed), (REASONS[3], close)))


@mistake("These are the claims that may stay. Wanted are those that may not, each with its reason.")
def those_that_stay(claims):
    return {
        claim["says"]: "" for claim in claims if not (alone(claim) or tuned(claim) or one_seed(claim) or close(claim))
    }


EXERCISE = Exercise(
    id="unsupported_claims",
    title="What may stand on the card",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "For each claim four questions in their order, and the first that applies is its reason. If none applies, "
        "the claim is not in the answer.",
        "A chain of `if` and `elif` in a loop over the claims. The control is asked for by `is None`; two entries "
        "are compared with each other for the second; the third needs two conditions at once; for the last, `abs` "
        "of a difference is compared with twice the error.",
    ),
    reference=unsupported_claims,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, The model card",
)

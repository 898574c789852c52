"""What a loss curve says: five diagnoses, and the order in which to ask for them."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def read_run(losses, uniform, frequency):
    if not all(math.isfinite(loss) for loss in losses) or losses[-1] > uniform:
        return "diverged"
    if losses[-1] > frequency - 0.1:
        return "frequencies"
    if losses[-1] > min(losses) + 0.05:
        return "rising"
    if losses[-1] < losses[-2] - 0.05:
        return "falling"
    return "flat"


UNIFORM, FREQUENCY = 7.625, 6.5


def cases(rng):
    def shifted(*losses):
        # A little up, so that no loss is the same twice, and no answer changes.
        return [loss + 0.01 * float(torch.rand((), generator=rng)) for loss in losses]

    def moved(*losses):
        # All of them by the same, where hundredths decide.
        up = 0.004 * float(torch.rand((), generator=rng))
        return [loss + up for loss in losses]

    def case(name, *runs, uniform=UNIFORM, frequency=FREQUENCY):
        """Several runs at once, not all with the same diagnosis: five words would soon be guessed."""
        losses, expected = zip(*runs, strict=True)
        return Case(name, (list(losses), uniform, frequency), expected=list(expected))

    return [
        case(
            "it goes on learning, and flat at the end",
            (shifted(6.9, 5.8, 5.3, 5.1, 4.9), "falling"),
            (shifted(6.2, 5.0, 4.7, 4.65, 4.64), "flat"),
        ),
        case(
            "a hump: on the way to better, worse than its best, just below its best",
            (shifted(6.2, 5.4, 6.0, 5.2, 5.0), "falling"),
            (shifted(6.0, 4.8, 5.6, 5.4, 5.2), "rising"),
            (moved(6.0, 5.0, 5.54, 4.97), "falling"),
        ),
        case(
            "the frequencies: stuck there, rising to them, eight hundredths below, twelve hundredths below",
            (shifted(7.1, 6.52, 6.47, 6.46, 6.46), "frequencies"),
            (shifted(5.9, 6.1, 6.3, 6.42, 6.6), "frequencies"),
            (moved(7.0, 6.6, 6.43, 6.42), "frequencies"),
            (moved(7.0, 6.6, 6.39, 6.38), "flat"),
        ),
        case(
            "well above the frequencies, and no better than them: stuck, still falling, and rising",
            (moved(7.55, 7.2, 7.02, 7.0), "frequencies"),
            (shifted(7.6, 7.4, 7.2, 7.0), "frequencies"),
            (shifted(5.9, 6.2, 6.6, 6.95), "frequencies"),
        ),
        case(
            "worse than knowing nothing at the end, and at the beginning, as most runs are",
            (shifted(6.6, 5.9, 7.0, 7.4, 9.5), "diverged"),
            (moved(7.76, 6.2, 5.4, 5.0), "falling"),  # measured: an untrained model begins a little above `uniform`
            ([*shifted(6.6, 7.0), UNIFORM], "frequencies"),  # as good as knowing nothing is not worse
        ),
        case(
            "not a number at the end, infinite once, infinitely low once, and none of these",
            ([*shifted(6.6, 5.9, 5.4), math.nan, math.nan], "diverged"),
            ([*shifted(6.6), math.inf, *shifted(5.9, 5.4, 5.1)], "diverged"),
            ([*shifted(6.6), -math.inf, *shifted(5.9, 5.4, 5.1)], "diverged"),
            (shifted(6.6, 6.2, 5.9, 5.4, 5.1), "falling"),
        ),
        case(
            "it got better and then worse, and stayed there, and the other way round",
            (shifted(6.0, 5.2, 4.8, 4.9, 5.1), "rising"),
            (moved(6.0, 4.8, 5.1, 5.12), "rising"),
            (shifted(6.0, 5.1, 5.2, 4.9, 4.8), "falling"),
        ),
        case(
            "a fall of three hundredths, of seven, and of two after a hump",
            (moved(6.0, 5.2, 4.86, 4.83), "flat"),
            (moved(6.0, 5.0, 4.60, 4.53), "falling"),
            (moved(5.0, 5.3, 5.02, 5.0), "flat"),
        ),
        case(
            "three hundredths above the best, and seven",
            (moved(6.0, 5.0, 4.60, 4.63), "flat"),
            (moved(6.0, 5.0, 4.60, 4.67), "rising"),
        ),
        case(
            "other data, on which both bounds are lower",
            (shifted(4.0, 3.0, 2.9, 2.4), "falling"),
            (shifted(4.0, 3.0, 2.6, 2.52), "frequencies"),
            uniform=4.6,
            frequency=2.6,
        ),
    ]


def run_case(subject, runs, uniform, frequency):
    """Ask for the diagnosis of each run."""
    return [subject(losses, uniform, frequency) for losses in runs]


@alternative
def one_reason_after_another(losses, uniform, frequency):
    last, before, best = losses[-1], losses[-2], min(losses)
    broken = any(math.isnan(loss) or math.isinf(loss) for loss in losses)
    reasons = {
        "diverged": broken or last > uniform,
        "frequencies": last + 0.1 > frequency,
        "rising": last - best > 0.05,
        "falling": before - last > 0.05,
        "flat": True,
    }
    return next(name for name, holds in reasons.items() if holds)


@alternative
def with_tensors(losses, uniform, frequency):
    curve = torch.tensor(losses, dtype=torch.float64)
    if not curve.isfinite().all() or bool(curve[-1] > uniform):
        return "diverged"
    if bool(curve[-1] > frequency - 0.1):
        return "frequencies"
    if bool(curve[-1] > curve.min() + 0.05):
        return "rising"
    return "falling" if bool(curve[-2] - curve[-1] > 0.05) else "flat"


def read_in_order(losses, uniform, frequency, order, margin=0.1, step=0.05):
    """The first diagnosis that holds, in another order or with other margins; "flat" if none does."""
    holds = {
        "diverged": not all(map(math.isfinite, losses)) or losses[-1] > uniform,
        "infinite": not all(map(math.isfinite, losses)),
        "frequencies": losses[-1] > frequency - margin,
        "rising": losses[-1] > min(losses) + step,
        "falling": losses[-1] < losses[-2] - step,
    }
    found = next((name for name in order if holds[name]), "flat")
    return "diverged" if found == "infinite" else found


@mistake(
    "This looks at the last two losses first, and calls a run falling that has diverged or was better before. Ask for "
    "the worst news first."
)
def falling_first(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("falling", "diverged", "frequencies", "rising"))


# With a question about NaN and infinite losses, with one about NaN alone, and with none.
ANY_ABOVE_UNIFORM = (
    "Every run begins near `uniform`, or a little above it. Compare the *last* loss with it: has the run ended worse "
    "than knowing nothing?"
)


def asked_of_all(losses, uniform, frequency, diverged):
    if any(map(diverged, losses)):
        return "diverged"
    if losses[-1] > frequency - 0.1:
        return "frequencies"
    if losses[-1] > min(losses) + 0.05:
        return "rising"
    return "falling" if losses[-1] < losses[-2] - 0.05 else "flat"


@mistake(ANY_ABOVE_UNIFORM)
def any_above_uniform_or_nan(losses, uniform, frequency):
    return asked_of_all(losses, uniform, frequency, lambda loss: math.isnan(loss) or loss > uniform)


@mistake(ANY_ABOVE_UNIFORM)
def any_above_uniform_alone(losses, uniform, frequency):
    return asked_of_all(losses, uniform, frequency, lambda loss: loss > uniform)


@mistake(ANY_ABOVE_UNIFORM)
def any_above_uniform(losses, uniform, frequency):
    if any(loss > uniform for loss in losses):
        return "diverged"
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising", "falling"))


@mistake(
    '"Falling" compares the last loss with the one just before it. Here it is compared with the best one before, so a '
    "run that comes down from a hump looks flat."
)
def falling_since_the_best(losses, uniform, frequency):
    found = read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising"))
    return "falling" if found == "flat" and losses[-1] < min(losses[:-1]) - 0.05 else found


@mistake(
    '"Falling" asks about the last stretch alone: compare the last loss with the one before it. Here it is compared '
    "with the first, and every run that has learned anything is below that."
)
def falling_since_the_first(losses, uniform, frequency):
    found = read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising"))
    return "falling" if found == "flat" and losses[-1] < losses[0] - 0.05 else found


@mistake(
    "A comparison with NaN is always false, so a run that ended in NaN slips through every test. Ask "
    "`math.isfinite` of all losses first."
)
def nan_slips_through(losses, uniform, frequency):
    if losses[-1] > uniform:
        return "diverged"
    return read_in_order(losses, uniform, frequency, ("frequencies", "rising", "falling"))


@mistake(
    "Infinite losses are found here, and NaN is not. (`x == math.nan` is False for every x, NaN too: it equals "
    "nothing, not even itself.) Ask `math.isnan(x)`, or `math.isfinite(x)`, which finds infinite losses as well."
)
def nan_by_equality(losses, uniform, frequency):
    if any(math.isinf(loss) for loss in losses) or losses[-1] > uniform:
        return "diverged"
    return read_in_order(losses, uniform, frequency, ("frequencies", "rising", "falling"))


@mistake("Losses of minus infinity are infinite too, and say that something broke: `math.isfinite` finds all of them.")
def minus_infinity_is_fine(losses, uniform, frequency):
    if any(math.isnan(loss) or loss == math.inf for loss in losses) or losses[-1] > uniform:
        return "diverged"
    if losses[-1] > frequency - 0.1:
        return "frequencies"
    if losses[-1] > min(losses) + 0.05:
        return "rising"
    return "falling" if losses[-1] < losses[-2] - 0.05 else "flat"


@mistake("A run that ends exactly at `uniform` is no worse than knowing nothing: `>`, and not `>=`.")
def at_uniform_too(losses, uniform, frequency):
    if losses[-1] == uniform:
        return "diverged"
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising", "falling"))


# The lowest loss is then minus infinity, or the lowest of the others.
INFINITE_BEFORE_THE_LAST = (
    "An infinite loss before the last one goes unseen here. One loss that is NaN or infinite is enough, *anywhere* in "
    "the list: ask `math.isfinite` of all of them."
)


@mistake(INFINITE_BEFORE_THE_LAST)
def only_the_last_as_they_are(losses, uniform, frequency):
    if not math.isfinite(losses[-1]) or losses[-1] > uniform:
        return "diverged"
    if losses[-1] > frequency - 0.1:
        return "frequencies"
    if losses[-1] > min(losses) + 0.05:
        return "rising"
    return "falling" if losses[-1] < losses[-2] - 0.05 else "flat"


@mistake(INFINITE_BEFORE_THE_LAST)
def only_the_last(losses, uniform, frequency):
    if not math.isfinite(losses[-1]) or losses[-1] > uniform:
        return "diverged"
    finite = [loss for loss in losses if math.isfinite(loss)]
    return read_in_order(finite, uniform, frequency, ("frequencies", "rising", "falling"))


@mistake("A finite loss above `uniform` has diverged as well: the model is worse than one that knows nothing.")
def finite_is_fine(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("infinite", "frequencies", "rising", "falling"))


@mistake(
    "A run that has learned the frequencies of the tokens and nothing else is a case of its own. Ask for it before you "
    "ask how the curve moves."
)
def no_frequencies(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "rising", "falling"))


@mistake(
    'A run that was better before and ends at the frequencies, or above them, is "frequencies", not '
    '"rising". Ask for the frequencies first, and of '
    "the last loss alone."
)
def rising_before_frequencies(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "rising", "frequencies", "falling"))


BAND = (
    "You ask whether the last loss lies *near* the frequencies, on either side. A loss well above them has learned "
    "even less: everything from 0.1 below them upwards counts."
)


@mistake(BAND)
def band_around_the_frequencies(losses, uniform, frequency):
    if not all(map(math.isfinite, losses)) or losses[-1] > uniform:
        return "diverged"
    if abs(losses[-1] - frequency) < 0.1:
        return "frequencies"
    return read_in_order(losses, uniform, frequency, ("rising", "falling"))


@mistake(BAND)
def only_just_below_the_frequencies(losses, uniform, frequency):
    if not all(map(math.isfinite, losses)) or losses[-1] > uniform:
        return "diverged"
    if frequency - 0.1 < losses[-1] <= frequency:
        return "frequencies"
    return read_in_order(losses, uniform, frequency, ("rising", "falling"))


@mistake(
    'You ask for "falling" before "rising". A run may fall at the end and still be worse than it was: ask for the '
    "worse news first."
)
def falling_before_rising(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "falling", "rising"))


@mistake("The last loss has to be compared with the *best* one too. A run that was better before is rising.")
def no_rising(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "falling"))


@mistake(
    '"Rising" asks about the best loss of all, not about the one before: a curve may fall again and still be worse.'
)
def rising_since_the_last(losses, uniform, frequency):
    if not all(map(math.isfinite, losses)) or losses[-1] > uniform:
        return "diverged"
    if losses[-1] > frequency - 0.1:
        return "frequencies"
    if losses[-1] > losses[-2] + 0.05:
        return "rising"
    return "falling" if losses[-1] < losses[-2] - 0.05 else "flat"


@mistake(
    'The sign of the margin is turned round: a run is "falling" if its last loss is more than 0.05 *below* the one '
    "before it. You also count one that stays, or rises a little."
)
def falling_unless_it_rises(losses, uniform, frequency):
    found = read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising"))
    return "falling" if found == "flat" and losses[-1] < losses[-2] + 0.05 else found


@mistake('No run is "falling" here. Compare the last loss with the one before it: 0.05 lower, and it still falls.')
def no_falling(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising"))


@mistake("A change of less than 0.05 nats is flat. Here any change counts.")
def no_margin(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising", "falling"), step=0.0)


@mistake('Two margins are mixed up: 0.1 belongs to the frequencies, 0.05 to "rising" and "falling".')
def margins_of_a_tenth(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising", "falling"), step=0.1)


@mistake("The margin below the frequencies is 0.1 nats. Here it is 0.05, which belongs to the other two.")
def small_margin_of_frequencies(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising", "falling"), margin=0.05)


@mistake(
    "Just below the frequencies still counts as the frequencies: only a loss that is more than 0.1 nats lower has "
    "learned something else."
)
def frequencies_without_margin(losses, uniform, frequency):
    return read_in_order(losses, uniform, frequency, ("diverged", "frequencies", "rising", "falling"), margin=0.0)


EXERCISE = Exercise(
    id="read_run",
    title="Read a run",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Five questions, the worst news first, and a `return` after each. Which value of `losses` does each of them "
        "compare, and with what? NaN is neither larger nor smaller than anything.",
        "`all(math.isfinite(loss) for loss in losses)` is True if none is NaN or infinite. The last loss is "
        "`losses[-1]`; it is compared with `uniform`, with `frequency`, with the smallest of all, and with the one "
        "before.",
    ),
    reference=read_run,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, Reading a run",
)

"""Design a fair comparison of sizes: from a sweep, the rate with which each width shows what it can do by a step."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def fair_rates(accuracies, rates, looks, step):
    means = accuracies[..., looks.index(step)].mean(-1)  # over the seeds: (widths, rates)
    best = means.argmax(-1).tolist()
    return [rates[i] if 0 < i < len(rates) - 1 else None for i in best]


def cases(rng):
    def whole(high):
        return int(torch.randint(high, (), generator=rng))

    def some(numbers):
        return numbers[whole(len(numbers))]

    def sweep(bests, n_rates, n_seeds, n_looks, look):
        """Runs with their best rates at a look, given by place; before it and after it each width has another best."""
        accuracies = torch.zeros(len(bests), n_rates, n_seeds, n_looks)
        for width, best in enumerate(bests):
            before = some([i for i in range(n_rates) if i != best])
            after = some([i for i in range(n_rates) if i not in (best, before)])
            for k in range(n_looks):
                away = (torch.arange(n_rates) - (best if k == look else before if k < look else after)).abs()
                accuracies[width, :, :, k] = (0.9 - 0.2 * away.clamp(max=4))[:, None]
        accuracies -= 0.06 * torch.rand(accuracies.shape, generator=rng)
        for width, best in enumerate(bests):  # one seed is lucky, at a rate that is far from the best
            lucky = some([i for i in range(n_rates) if abs(i - best) > 1])
            seed = whole(n_seeds) if width else 0  # the first seed of one width at least
            accuracies[width, lucky, seed, look] = 0.99
        return accuracies

    def case(name, bests, n_rates, n_seeds, n_looks, look):
        lowest = 10 ** -(2 + 2 * torch.rand((), generator=rng).item())
        rates = [round(lowest * 3**i, 6) for i in range(n_rates)]
        looks = (100 * torch.randint(1, 9, (n_looks,), generator=rng).cumsum(0)).tolist()
        bests = [bests[i] for i in torch.randperm(len(bests), generator=rng)]
        return Case(name, (sweep(bests, n_rates, n_seeds, n_looks, look), rates, looks, looks[look]))

    return [
        case("three widths, compared at the first look", [1, 3, 3], 5, 3, 4, 0),
        case("three widths, compared in the middle", [1, 2, 3], 5, 3, 4, 2),
        case("four widths, compared at the last look", [1, 1, 2, 3], 5, 5, 3, 2),
        case("five widths, two of which the sweep leaves open", [0, 1, 2, 3, 4], 5, 3, 4, 1),
        case("four widths and four rates", [0, 1, 2, 3], 4, 4, 3, 1),
    ]


@alternative
def by_loops(accuracies, rates, looks, step):
    chosen = []
    for width in accuracies[:, :, :, looks.index(step)].tolist():
        means = {rate: sum(of_seeds) / len(of_seeds) for rate, of_seeds in zip(rates, width, strict=True)}
        best = max(means, key=means.get)
        chosen.append(None if best in (rates[0], rates[-1]) else best)
    return chosen


@alternative
def by_the_median_of_the_seeds(accuracies, rates, looks, step):
    found = accuracies[..., looks.index(step)].median(-1).values
    best = found.max(-1, keepdim=True).values == found
    inside = [None, *rates[1:-1], None]
    return [inside[int(row.nonzero()[0])] for row in best]


@alternative
def by_the_worst_of_the_seeds(accuracies, rates, looks, step):
    at = {look: accuracies[..., k] for k, look in enumerate(looks)}[step]
    places = at.amin(-1).argsort(-1)[:, -1].tolist()
    return [None if i in (0, len(rates) - 1) else rates[i] for i in places]


def chosen(scores, rates, ends=False):
    """The rate with the best score of each row; at an end of the sweep None, or with `ends` that rate."""
    last = len(rates) - 1
    return [rates[i] if ends or 0 < i < last else None for i in scores.argmax(-1).tolist()]


def means_at(accuracies, look):
    return accuracies[..., look].mean(-1)


ONE_FOR_ALL = (
    "All widths have the same rate here, the best on average. It suits some of them and not the others, so the others "
    "may lose by the rate alone. Choose for each width by itself."
)
ANOTHER_MOMENT = (
    "These rates are the best at another look. A rate that is the best of all in the end may be far behind at `step`, "
    "where the widths are compared: choose at that look."
)
ALL_LOOKS = (
    "This goes by all looks at once. The widths are compared at one moment, `step`, and there another rate may be the "
    "best: use that look alone."
)
UP_TO_THE_STEP = (
    "This takes the mean over all looks up to `step`, so a rate that was ahead early on keeps its lead. The widths are "
    "compared at `step`: use that look alone."
)
LUCKY = (
    "This goes by the best single run of each rate. One lucky seed is enough for that, and new seeds will not have its "
    "luck. Go by all seeds of a rate, such as their mean."
)
ONE_SEED = "This looks at one seed alone, which may be the lucky one. Go by all seeds of a rate, such as their mean."


@mistake(
    "Nearly: each width has its best rate of those tried. But where that is the smallest or the largest of them, one "
    "beyond may be better still, and the width would lose for want of it. Return None there."
)
def ends_accepted(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, looks.index(step)), rates, ends=True)


@mistake("Nearly: the sweep has two ends. If the *largest* rate is the best, a larger one may be better still: None.")
def largest_rate_accepted(accuracies, rates, looks, step):
    best = means_at(accuracies, looks.index(step)).argmax(-1).tolist()
    return [rates[i] if i > 0 else None for i in best]


@mistake("Nearly: the sweep has two ends. If the *smallest* rate is the best, a smaller one may be better still: None.")
def smallest_rate_accepted(accuracies, rates, looks, step):
    best = means_at(accuracies, looks.index(step)).argmax(-1).tolist()
    return [rates[i] if i < len(rates) - 1 else None for i in best]


@mistake(
    "The ends of the sweep are left out before the best is chosen. If the best of all is at an end, its neighbour "
    "inside is not the best rate either: return None."
)
def best_of_the_inner_rates(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, looks.index(step))[:, 1:-1], rates[1:-1], ends=True)


@mistake(
    "Here one width that the sweep leaves open makes all of them None. The others have their rates: None is for that "
    "width alone."
)
def none_for_all(accuracies, rates, looks, step):
    own = chosen(means_at(accuracies, looks.index(step)), rates)
    return [None] * len(own) if None in own else own


@mistake(
    "A single seed whose best rate is at an end makes its width None here. That may be luck, as a good run at a wrong "
    "rate may be: put the seeds together first, and then ask where the best rate is."
)
def none_for_one_seed(accuracies, rates, looks, step):
    at = accuracies[..., looks.index(step)]
    open_ended = torch.isin(at.argmax(1), torch.tensor([0, len(rates) - 1])).any(-1).tolist()
    return [None if is_open else rate for is_open, rate in zip(open_ended, chosen(at.mean(-1), rates), strict=True)]


@mistake(ONE_FOR_ALL)
def one_rate_for_all(accuracies, rates, looks, step):
    means = means_at(accuracies, looks.index(step)).mean(0, keepdim=True)
    return chosen(means, rates) * len(accuracies)


@mistake(ONE_FOR_ALL)
def one_rate_for_all_and_ends_accepted(accuracies, rates, looks, step):
    means = means_at(accuracies, looks.index(step)).mean(0, keepdim=True)
    return chosen(means, rates, ends=True) * len(accuracies)


@mistake(ANOTHER_MOMENT)
def at_the_last_look(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, -1), rates)


@mistake(ANOTHER_MOMENT)
def at_the_last_look_and_ends_accepted(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, -1), rates, ends=True)


@mistake(ANOTHER_MOMENT)
def at_the_first_look(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, 0), rates)


@mistake(ALL_LOOKS)
def mean_over_the_looks(accuracies, rates, looks, step):
    return chosen(accuracies.mean((-2, -1)), rates)


@mistake(ALL_LOOKS)
def mean_over_the_looks_and_ends_accepted(accuracies, rates, looks, step):
    return chosen(accuracies.mean((-2, -1)), rates, ends=True)


@mistake(UP_TO_THE_STEP)
def mean_up_to_the_step(accuracies, rates, looks, step):
    return chosen(accuracies[..., : looks.index(step) + 1].mean((-2, -1)), rates)


@mistake(UP_TO_THE_STEP)
def mean_up_to_the_step_and_ends_accepted(accuracies, rates, looks, step):
    return chosen(accuracies[..., : looks.index(step) + 1].mean((-2, -1)), rates, ends=True)


@mistake(ALL_LOOKS)
def each_rate_at_its_best_look(accuracies, rates, looks, step):
    return chosen(accuracies.mean(-2).amax(-1), rates)


@mistake(LUCKY)
def best_single_run(accuracies, rates, looks, step):
    return chosen(accuracies[..., looks.index(step)].amax(-1), rates)


@mistake(LUCKY)
def best_single_run_and_ends_accepted(accuracies, rates, looks, step):
    return chosen(accuracies[..., looks.index(step)].amax(-1), rates, ends=True)


@mistake(ONE_SEED)
def first_seed_alone(accuracies, rates, looks, step):
    return chosen(accuracies[:, :, 0, looks.index(step)], rates)


@mistake(ONE_SEED)
def first_seed_alone_and_ends_accepted(accuracies, rates, looks, step):
    return chosen(accuracies[:, :, 0, looks.index(step)], rates, ends=True)


@mistake(ONE_SEED)
def last_seed_alone(accuracies, rates, looks, step):
    return chosen(accuracies[:, :, -1, looks.index(step)], rates)


@mistake("These are places in the list of rates. Return the rates themselves.")
def places_instead_of_rates(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, looks.index(step)), list(range(len(rates))))


@mistake("These are the accuracies that the best rates reach. Return the rates.")
def accuracies_instead_of_rates(accuracies, rates, looks, step):
    return means_at(accuracies, looks.index(step)).amax(-1).tolist()


@mistake("This takes the *worst* rate of each width: `argmin`. What a width can do shows at its best one.")
def worst_rates(accuracies, rates, looks, step):
    return chosen(-means_at(accuracies, looks.index(step)), rates)


@mistake(
    "The mean runs over the rates, and the best seed is chosen. Take it over the seeds: the axis behind the rates."
)
def mean_over_the_rates(accuracies, rates, looks, step):
    return chosen(accuracies[..., looks.index(step)].mean(1), rates)


@mistake("This looks for the best *width* at each rate. Look for the best rate of each width, along the rates.")
def best_width_of_each_rate(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, looks.index(step)).T, rates)


@mistake(
    "Only the first width has its rate. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_width_alone(accuracies, rates, looks, step):
    return fair_rates(accuracies, rates, looks, step)[:1]


@mistake("The widths that the sweep leaves open are missing. Each width has an entry; theirs is None.")
def open_ones_left_out(accuracies, rates, looks, step):
    return [rate for rate in fair_rates(accuracies, rates, looks, step) if rate is not None]


@mistake("Where the sweep leaves a width open, this has 0. No rate is 0: return None there.")
def zero_for_none(accuracies, rates, looks, step):
    return [rate or 0 for rate in fair_rates(accuracies, rates, looks, step)]


TWO_AT_THE_ENDS = (
    "Two rates at an end count as the end here. The second one from an end has a neighbour on each side, so it may be "
    "the best."
)


@mistake(TWO_AT_THE_ENDS)
def two_smallest_left_open(accuracies, rates, looks, step):
    best = means_at(accuracies, looks.index(step)).argmax(-1).tolist()
    return [rates[i] if 1 < i < len(rates) - 1 else None for i in best]


@mistake(TWO_AT_THE_ENDS)
def two_largest_left_open(accuracies, rates, looks, step):
    best = means_at(accuracies, looks.index(step)).argmax(-1).tolist()
    return [rates[i] if 0 < i < len(rates) - 2 else None for i in best]


@mistake(ANOTHER_MOMENT)
def one_look_earlier(accuracies, rates, looks, step):
    return chosen(means_at(accuracies, looks.index(step) - 1), rates)


@mistake(
    "This is one rate for all widths, the best on average. Return a list, with the best rate of each width by itself."
)
def a_single_rate(accuracies, rates, looks, step):
    return one_rate_for_all_and_ends_accepted.solution(accuracies, rates, looks, step)[0]


EXERCISE = Exercise(
    id="fair_rates",
    title="Rates for a fair comparison",
    points=2,
    minutes=10,
    difficulty=2,
    kind="design",
    hints=(
        "Which of the four axes is about the moment, which about luck, and which about the choice? And if the largest "
        "rate of all is the best: have you found the best rate?",
        "`looks.index(step)` is the number of the look. There, the mean over the seeds leaves a table of widths by "
        "rates. Where is the largest number in each row? If that place has no neighbour on one side, nobody knows what "
        "lies there.",
    ),
    reference=fair_rates,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Is it the width?",
)

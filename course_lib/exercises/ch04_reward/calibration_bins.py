"""Calibration: of all pairs that were given 80%, did the first text win in 80%?"""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def calibration_bins(predicted, happened, n_bins):
    place = (predicted * n_bins).long().clamp(max=n_bins - 1)
    rows = []
    for k in range(n_bins):
        inside = place == k
        if inside.any():
            rows.append([inside.float().mean(), predicted[inside].mean(), happened[inside].mean()])
        else:
            rows.append([0.0, 0.0, 0.0])
    return torch.tensor(rows, dtype=predicted.dtype)


def cases(rng):
    predicted = torch.rand(60, generator=rng)
    happened = (torch.rand(60, generator=rng) < predicted).float()
    low, high = (torch.rand(2, generator=rng) / 10).tolist()
    return [
        Case(
            "two bins",
            (torch.tensor([0.1, 0.3, 0.75, 0.9, 0.95]), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0]), 2),
        ),
        Case(
            "an empty bin, and a prediction of exactly 1",
            (torch.tensor([0.1 + low, 0.1 + high, 1.0]), torch.tensor([0.0, 1.0, 1.0]), 4),
        ),
        Case("60 predictions, 5 bins", (predicted, happened, 5)),
        Case(
            "predictions on a border, and of 0 and 1",
            (torch.tensor([0.0, 0.5, 0.5, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0]), 2),
        ),
    ]


@alternative
def by_index_add(predicted, happened, n_bins):
    place = (predicted * n_bins).floor().clamp(max=n_bins - 1).long()
    columns = (torch.ones_like(predicted), predicted, happened)
    n, said, was = (torch.zeros(n_bins, dtype=x.dtype).index_add(0, place, x) for x in columns)
    return torch.stack([n / len(predicted), said / n.clamp(min=1), was / n.clamp(min=1)], dim=1)


def rows_of_bins(bin_of_each, predicted, happened, n_bins):
    """The table, once it is known into which bin each prediction falls; a bin that does not exist gets none."""
    table = torch.zeros(n_bins, 3)
    for k in range(n_bins):
        inside = bin_of_each == k
        if inside.any():
            table[k] = torch.stack([inside.float().mean(), predicted[inside].mean(), happened[inside].mean()])
    return table


@alternative
def pair_by_pair(predicted, happened, n_bins):
    rows = []
    for k in range(n_bins):
        count, said, was = 0, 0.0, 0.0
        for p, y in zip(predicted.tolist(), happened.tolist(), strict=True):
            if min(int(p * n_bins), n_bins - 1) == k:
                count, said, was = count + 1, said + p, was + y
        rows.append([count / len(predicted), said / count, was / count] if count else [0.0, 0.0, 0.0])
    return torch.tensor(rows)


@mistake(
    "The first column holds the number of pairs in each bin. Divide it by the number of all pairs, which makes it a "
    "share."
)
def counts_instead_of_shares(predicted, happened, n_bins):
    return calibration_bins(predicted, happened, n_bins) * torch.tensor([len(predicted), 1.0, 1.0])


@mistake("Columns 1 and 2 are exchanged: what was predicted comes before what happened.")
def columns_exchanged(predicted, happened, n_bins):
    return calibration_bins(predicted, happened, n_bins)[:, [0, 2, 1]]


@mistake("This rounds to the nearest border. Bin k begins at k / n_bins, so round down.")
def rounded_to_the_nearest(predicted, happened, n_bins):
    nearest = (predicted * n_bins).round().clamp(max=n_bins - 1)
    return rows_of_bins(nearest, predicted, happened, n_bins)


@mistake(
    "These bins exclude their lower border instead of their upper one. A prediction of exactly k / n_bins belongs to "
    "bin k, and 0 belongs to the first bin: round down."
)
def lower_border_excluded(predicted, happened, n_bins):
    rounded_up = (predicted * n_bins).ceil() - 1  # a prediction of 0 is in no bin
    return rows_of_bins(rounded_up, predicted, happened, n_bins)


@mistake(
    "These bins exclude their lower border instead of their upper one. A prediction of exactly k / n_bins belongs to "
    "bin k, not to bin k - 1: round down."
)
def lower_border_excluded_but_0(predicted, happened, n_bins):
    rounded_up = ((predicted * n_bins).ceil() - 1).clamp(min=0)
    return rows_of_bins(rounded_up, predicted, happened, n_bins)


@mistake(
    "A prediction of exactly 1 is in no bin here: rounded down it would be bin n_bins, which does not exist. It "
    "belongs to the last one, n_bins - 1."
)
def no_bin_for_1(predicted, happened, n_bins):
    return rows_of_bins((predicted * n_bins).floor(), predicted, happened, n_bins)


@mistake("An empty bin has no mean: 0 / 0 is not a number. Make its row zeros.")
def empty_bins_are_nan(predicted, happened, n_bins):
    table = calibration_bins(predicted, happened, n_bins)
    table[table[:, 0] == 0, 1:] = math.nan
    return table


@mistake(
    "The second column is the middle of each bin. It should be the mean of the predictions in it, which need not be "
    "the middle."
)
def middle_of_the_bin(predicted, happened, n_bins):
    table = calibration_bins(predicted, happened, n_bins)
    middle = (torch.arange(n_bins) + 0.5) / n_bins
    table[:, 1] = torch.where(table[:, 0] > 0, middle, 0.0)
    return table


@mistake(
    "Columns 1 and 2 are divided by the number of all pairs. They are means over the pairs *in the bin*: divide by "
    "how many there are in it."
)
def divided_by_all_pairs(predicted, happened, n_bins):
    share, said, was = calibration_bins(predicted, happened, n_bins).unbind(1)
    return torch.stack([share, share * said, share * was], dim=1)


@mistake("Columns 1 and 2 hold sums. They are means over the pairs in the bin: divide by how many there are in it.")
def sums_instead_of_means(predicted, happened, n_bins):
    share, said, was = calibration_bins(predicted, happened, n_bins).unbind(1)
    return torch.stack([share, share * said * len(predicted), share * was * len(predicted)], dim=1)


@mistake(
    "These bins include both of their borders, so a prediction of exactly k / n_bins is counted twice. It belongs to "
    "bin k alone."
)
def both_borders_included(predicted, happened, n_bins):
    table = torch.zeros(n_bins, 3)
    for k in range(n_bins):
        inside = (predicted >= k / n_bins) & (predicted <= (k + 1) / n_bins)
        if inside.any():
            table[k] = torch.stack([inside.float().mean(), predicted[inside].mean(), happened[inside].mean()])
    return table


@mistake("The rows of empty bins are left out. The table has a row for each of the n_bins bins: zeros, if it is empty.")
def empty_bins_left_out(predicted, happened, n_bins):
    table = calibration_bins(predicted, happened, n_bins)
    return table[table[:, 0] > 0]


@mistake("The first column is divided by the number of bins. A share of all pairs is divided by the number of pairs.")
def shares_of_the_bins(predicted, happened, n_bins):
    return calibration_bins(predicted, happened, n_bins) * torch.tensor([len(predicted) / n_bins, 1.0, 1.0])


@mistake(
    "The last column is a share of all that happened. It is the mean of what happened to the pairs in the bin: divide "
    "by how many pairs there are in it."
)
def share_of_what_happened(predicted, happened, n_bins):
    share, said, was = calibration_bins(predicted, happened, n_bins).unbind(1)
    return torch.stack([share, said, share * was / happened.mean()], dim=1)


@mistake(
    "These bins hold equally many pairs each. They should be equally *wide*: bin k reaches from k / n_bins to (k + 1) "
    "/ n_bins, however many predictions lie there."
)
def equally_many_in_each(predicted, happened, n_bins):
    bin_of_each = torch.zeros(len(predicted))
    for k, part in enumerate(predicted.argsort().chunk(n_bins)):
        bin_of_each[part] = k
    return rows_of_bins(bin_of_each, predicted, happened, n_bins)


@mistake(
    "These bins divide the range from the lowest to the highest prediction. They should divide the range from 0 to 1, "
    "whatever was predicted."
)
def from_the_lowest_to_the_highest(predicted, happened, n_bins):
    low, high = predicted.min(), predicted.max()
    place = ((predicted - low) / (high - low) * n_bins).long().clamp(max=n_bins - 1)
    return rows_of_bins(place, predicted, happened, n_bins)


@mistake(
    "This multiplies by n_bins - 1, so there are fewer and wider bins than asked for. Multiply by n_bins, round down, "
    "and put a prediction of exactly 1 into the last bin."
)
def one_bin_too_few(predicted, happened, n_bins):
    return rows_of_bins((predicted * (n_bins - 1)).long(), predicted, happened, n_bins)


EXERCISE = Exercise(
    id="calibration_bins",
    title="Are its probabilities true?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "Which bin does a prediction fall into? Multiply by n_bins and round down; a prediction of exactly 1 belongs "
        "to the last bin.",
        "`(predicted * n_bins).long()` rounds down, and `clamp(max=...)` takes the 1 into the last bin. Then, for one "
        "bin after the other: which pairs are inside? If there are any, their row is made of three means.",
    ),
    reference=calibration_bins,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Are its probabilities true?",
)

"""How many tokens can influence the last output of a model whose layers have sliding windows."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def receptive_field(windows, tokens):
    reached = 1
    for window in windows:
        if window is None:
            return tokens
        reached += window - 1
    return min(reached, tokens)


def cases(rng):
    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def windows(n):
        return [whole(2, 30) for _ in range(n)]

    every_kind = windows(6)
    every_kind[whole(0, 6)] = None
    same = whole(4, 20)
    return [
        Case("by hand: two layers with windows of 3", ([3, 3], 100), expected=5),
        Case("windows of 1: no token sees another", ([1] * whole(2, 9), 50), expected=1),
        Case("one layer", (windows(1), 100)),
        Case("the same window in every layer", ([same] * whole(3, 9), 1000)),
        Case("other windows in other layers", (windows(whole(4, 9)), 1000)),
        Case("a text shorter than the reach", ([20 + same] * 5, whole(40, 80))),
        Case("one layer sees everything", (every_kind, whole(300, 900))),
    ]


@alternative
def by_walking_back(windows, tokens):
    # The set of tokens that matter, from the last layer down to the first.
    first = tokens - 1
    for window in reversed(windows):
        first = 0 if window is None else max(0, first - (window - 1))
    return tokens - first


@alternative
def by_a_sum(windows, tokens):
    if None in windows:
        return tokens
    return min(tokens, sum(windows) - len(windows) + 1)


@mistake(
    "This adds up the windows. But a window counts the token itself, so a layer reaches only `window - 1` tokens "
    "further back."
)
def sum_of_windows(windows, tokens):
    return tokens if None in windows else min(tokens, sum(windows))


@mistake(
    "This is the window of the last layer alone. But what the last token reads there has itself read further back, in "
    "the layers below: every layer adds to the reach."
)
def last_window(windows, tokens):
    return tokens if windows[-1] is None else min(tokens, windows[-1])


@mistake("The last token itself is not counted here. It can always influence its own output.")
def without_itself(windows, tokens):
    return tokens if None in windows else min(tokens, sum(window - 1 for window in windows))


@mistake(
    "This is the widest window. But layers are stacked: what one layer has carried along, the next carries further, so "
    "their reaches add up."
)
def widest_window(windows, tokens):
    return tokens if None in windows else min(tokens, max(windows))


@mistake("This may be more than the text has. Nothing before the first token can matter: take the smaller number.")
def beyond_the_text(windows, tokens):
    return tokens if None in windows else sum(window - 1 for window in windows) + 1


@mistake("This takes the first layer's window for all layers. Each has its own.")
def first_window_everywhere(windows, tokens):
    return tokens if None in windows else min(tokens, len(windows) * (windows[0] - 1) + 1)


@mistake(
    "A layer without a window, `None`, sees all tokens before it. One such layer is enough to reach the whole text."
)
def leaves_out_none(windows, tokens):
    return min(tokens, sum(window - 1 for window in windows if window is not None) + 1)


@mistake(
    "The windows are multiplied here. Each layer reaches `window - 1` tokens further back than the one below, so what "
    "the layers add is added up."
)
def product_of_windows(windows, tokens):
    return tokens if None in windows else min(torch.tensor(windows).prod().item(), tokens)


@mistake("This takes the widest window for every layer. Each has its own: add up `window - 1` over the layers.")
def widest_window_everywhere(windows, tokens):
    return tokens if None in windows else min((max(windows) - 1) * len(windows) + 1, tokens)


EXERCISE = Exercise(
    id="receptive_field",
    title="How far windows reach",
    points=2,
    minutes=10,
    difficulty=2,
    kind="derive",
    hints=(
        "Begin at the last layer and go down. The last token reads some tokens of the layer below; what do these read?",
        "Each layer adds `window - 1`; begin with 1 for the token itself. With `None` it is `tokens`, and never more "
        "than that.",
    ),
    reference=receptive_field,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, How far a window sees",
)

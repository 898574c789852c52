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
    every_kind[whole(0, 5)] = None  # not the last: what a loop does that ends there shows
    uneven = [whole(2, 12), 31, *windows(whole(2, 7)), whole(12, 30)]  # first, last and widest differ
    same = whole(4, 20)
    return [
        Case("by hand: two layers with windows of 3", ([3, 3], 100), expected=5),
        Case("windows of 1: no token sees another", ([1] * whole(2, 9), 50), expected=1),
        Case("one layer", (windows(1), 100)),
        Case("the same window in every layer", ([same] * whole(3, 9), 1000)),
        Case("other windows in other layers", (uneven, 1000)),
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


@alternative
def layer_by_layer(windows, tokens):
    seen = 1
    for i in range(len(windows)):
        if windows[i] is None:
            return tokens
        seen = seen + windows[i] - 1
    if seen > tokens:
        return tokens
    return seen


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


@mistake(
    "The loop ends at the layer without a window, and what that one reaches is left out. It sees everything before it: "
    "then the whole text can influence the output."
)
def ends_at_none(windows, tokens):
    return min(tokens, sum(window - 1 for window in windows[: (*windows, None).index(None)]) + 1)


@mistake(
    "Every window reaches half as far here, as if it lay around the token. A token sees only what comes before it: "
    "`window - 1` tokens."
)
def half_windows(windows, tokens):
    return tokens if None in windows else min(tokens, sum(window // 2 for window in windows) + 1)


@mistake("Each layer reaches to both sides here. A token sees only what comes before it: `window - 1` tokens.")
def to_both_sides(windows, tokens):
    return tokens if None in windows else min(tokens, 2 * sum(window - 1 for window in windows) + 1)


@mistake(
    "What a layer has reached is multiplied by the next one here. Of all tokens that the layer below can reach, the "
    "farthest counts: a further layer *adds* `window - 1`."
)
def grows_by_factors(windows, tokens):
    reached = 1
    for window in windows:
        reached = tokens if window is None else reached * (window - 1) + 1
    return min(tokens, reached)


@mistake("This is the narrowest window. Layers are stacked, and their reaches add up.")
def narrowest_window(windows, tokens):
    return tokens if None in windows else min(tokens, *windows)


@mistake("This takes the last layer's window for all layers. Each has its own.")
def last_window_everywhere(windows, tokens):
    return tokens if None in windows else min(tokens, len(windows) * (windows[-1] - 1) + 1)


@mistake(
    "This is the place of the first token that matters, counted from 0. Return how many tokens matter, from there to "
    "the last one."
)
def first_place(windows, tokens):
    return tokens - receptive_field(windows, tokens)


@mistake("A layer with `None` reaches one token too few here: the last token itself belongs to the text, too.")
def all_but_itself(windows, tokens):
    return tokens - 1 if None in windows else receptive_field(windows, tokens)


@mistake(
    "One is taken off for all layers together. *Each* window counts the token that it starts from, so each layer "
    "reaches `window - 1` tokens further back."
)
def one_off_for_all(windows, tokens):
    return tokens if None in windows else min(tokens, sum(windows) - 1)


@mistake(
    "With a layer without a window, this may be more than the text has. Nothing before the first token can matter: "
    "take the smaller number at the end."
)
def beyond_the_text_with_none(windows, tokens):
    return sum((window or tokens) - 1 for window in windows) + 1


@mistake(
    "After a layer without a window, more is added, and this may be more than the text has. Such a layer reaches the "
    "whole text, and nothing before the first token can matter."
)
def goes_on_after_none(windows, tokens):
    reached = 1
    for window in windows:
        reached = tokens if window is None else reached + window - 1
    return reached


@mistake(
    "Every layer reaches one token too far here: its whole window is added. A window counts the token that it starts "
    "from, so it reaches `window - 1` tokens further back."
)
def whole_windows_and_itself(windows, tokens):
    return tokens if None in windows else min(tokens, 1 + sum(windows))


EXERCISE = Exercise(
    id="receptive_field",
    title="How far windows reach",
    points=2,
    minutes=10,
    difficulty=2,
    kind="derive",
    hints=(
        "Begin at the last layer and go down. The last token reads some tokens of the layer below; what do these read?",
        "Begin with the token itself. By how much does a layer with a window of 3 extend the reach, and one with a "
        "window of 1? What does a layer with `None` reach, and what is the most that there is?",
    ),
    reference=receptive_field,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, How far a window sees",
)

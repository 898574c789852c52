"""One step of byte-pair encoding: two neighbours become one token, wherever they occur (Sennrich et al. 2016)."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def merge_pair(ids, pair, new):
    merged = []
    for token in ids:
        merged.append(token)
        if merged[-2:] == list(pair):  # a token that was just made is not one of the pair, so nothing overlaps
            merged[-2:] = [new]
    return merged


def cases(rng):
    ids = torch.randint(3, (20,), generator=rng).tolist()
    same, other, first, second, new = torch.randperm(500, generator=rng)[:5].tolist()
    return [
        Case("the pair in two places", ([5, 1, 2, 7, 1, 2, 2, 1], [1, 2], 9)),
        Case("a row of the same token", ([*[same] * 3, other, *[same] * 4], [same, same], 500 + new)),
        Case("the pair at both ends, also reversed", ([4, 6, 1, 6, 14, 6, 4, 6], (4, 6), 300)),
        Case("the pair is interrupted", ([first, other, second, first, second, second], (first, second), new)),
        Case("20 random tokens", (ids, (0, 1), 5)),
        Case("30 other tokens", (torch.randint(2, (30,), generator=rng).tolist(), (1, 0), 2)),
    ]


@alternative
def by_steps(ids, pair, new):
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == tuple(pair):
            merged.append(new)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


@alternative
def by_recursion(ids, pair, new):
    def merge(ids):
        if tuple(ids[:2]) == tuple(pair):
            return [new, *merge(ids[2:])]
        return [ids[0], *merge(ids[1:])] if ids else []

    return merge(ids)


def places_of(pair, ids):
    return [i for i in range(len(ids) - 1) if ids[i : i + 2] == list(pair)]


@mistake("This replaces the first pair only. There may be several: replace all of them.")
def first_pair_alone(ids, pair, new):
    found = places_of(pair, ids)
    if not found:
        return ids
    return [*ids[: found[0]], new, *ids[found[0] + 2 :]]


@mistake(
    "In 7 7 7 the middle token is used twice here. The first two become one token, and the third stays: after a merge "
    "go on behind both tokens."
)
def overlapping_pairs(ids, pair, new):
    found = places_of(pair, ids)
    merged = []
    for i, token in enumerate(ids):
        if i in found:
            merged.append(new)
        elif i - 1 not in found:  # the second token of a pair disappears
            merged.append(token)
    return merged


@mistake(
    "This compares digits: written as text, the pair 4 6 is also found in 14 6. Compare the numbers themselves, token "
    "by token."
)
def as_text(ids, pair, new):
    text = " ".join(str(token) for token in ids)
    pair_as_text = " ".join(str(token) for token in pair)
    return [int(number) for number in text.replace(pair_as_text, str(new)).split()]


@mistake("This goes from right to left: in 7 7 7 it merges the last two. Begin at the left, so that the third stays.")
def from_the_right(ids, pair, new):
    return merge_pair(ids[::-1], pair[::-1], new)[::-1]


@mistake("The new token is there, but the second one of the pair is still behind it. Two tokens become one: skip both.")
def second_token_stays(ids, pair, new):
    found = places_of(pair, ids)
    return [new if i in found else token for i, token in enumerate(ids)]


@mistake(
    "The last token gets lost where it is not part of a pair, because the loop ends one token too early. The last "
    "token has no neighbour to its right, but it stays in the list."
)
def last_token_lost(ids, pair, new):
    merged = merge_pair(ids, pair, new)
    return merged if merged[-1] == new else merged[:-1]


@mistake(
    "`pair` may be a tuple, and no list ever equals a tuple: `[1, 2] == (1, 2)` is False. Compare with `list(pair)`."
)
def list_compared_with_tuple(ids, pair, new):
    return merge_pair(ids, pair, new) if isinstance(pair, list) else ids


@mistake(
    "`pair` may be a list, and no tuple ever equals a list: `(1, 2) == [1, 2]` is False. Compare with `tuple(pair)`."
)
def tuple_compared_with_list(ids, pair, new):
    return merge_pair(ids, pair, new) if isinstance(pair, tuple) else ids


EXERCISE = Exercise(
    id="merge_pair",
    title="Merge one pair",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "Walk through the list from the left. Where this token and the next are the pair, write `new` and skip both.",
        "`while i < len(ids):` if `ids[i : i + 2] == list(pair)` append `new`, i += 2; otherwise append `ids[i]`, "
        "i += 1.",
    ),
    reference=merge_pair,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Cutting text into tokens",
)

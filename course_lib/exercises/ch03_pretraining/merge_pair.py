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


@mistake(
    "Two things: the second token of a pair is still behind the new one (skip both), and the last token of the list is "
    "lost, since the loop ends one too early."
)
def second_token_stays_and_last_is_lost(ids, pair, new):
    found = places_of(pair, ids)
    return [new if i in found else token for i, token in enumerate(ids[:-1])]


@mistake("The last token is appended in any case, also where it has just been merged. It stays only if it was not.")
def last_token_twice(ids, pair, new):
    merged = merge_pair(ids, pair, new)
    return [*merged, ids[-1]] if merged[-1] == new else merged


@mistake("The order of the two tokens counts: 2 1 is not the pair 1 2.")
def either_order(ids, pair, new):
    merged, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new if found else ids[i])
        i += 2 if found else 1
    return merged


@mistake("This replaces each token of the pair by itself. Only where both stand side by side, they become one token.")
def tokens_replaced_one_by_one(ids, pair, new):
    return [new if token in pair else token for token in ids]


@mistake("One of the two tokens is enough here, as with `or`. Both have to fit: `and`.")
def one_of_the_two_is_enough(ids, pair, new):
    merged, i = [], 0
    while i < len(ids):
        found = i + 1 < len(ids) and (ids[i] == pair[0] or ids[i + 1] == pair[1])
        merged.append(new if found else ids[i])
        i += 2 if found else 1
    return merged


@mistake("The first token of the pair is still before the new one. Two tokens become one: append `new` alone.")
def first_token_stays(ids, pair, new):
    merged, i = [], 0
    while i < len(ids):
        found = ids[i : i + 2] == list(pair)
        merged += [ids[i], new] if found else [ids[i]]
        i += 2 if found else 1
    return merged


@mistake(
    "This always goes on by two tokens, so it misses pairs that begin at an odd place. Without a merge go on by one."
)
def in_steps_of_two(ids, pair, new):
    merged = []
    for i in range(0, len(ids), 2):
        merged += [new] if ids[i : i + 2] == list(pair) else ids[i : i + 2]
    return merged


@mistake(
    "Only the beginning of the list comes back. Is the `return` inside the loop? Then the function ends in its first "
    "round: move it to the left, under the `while`."
)
def first_token_alone(ids, pair, new):
    return merge_pair(ids, pair, new)[:1]


@mistake("Each new token is a list of its own, `[new]`, inside the list. Append the number `new`.")
def lists_inside(ids, pair, new):
    return [[token] if token == new else token for token in merge_pair(ids, pair, new)]


@mistake("A pair at the end of the list is missed: the comparison ends one too early. The last pair begins at len - 2.")
def pair_at_the_end_missed(ids, pair, new):
    merged = merge_pair(ids, pair, new)
    return [*merged[:-1], *pair] if merged[-1] == new else merged


@mistake("After a token that is not merged this goes on by two, so the next one is lost. Go on by one there.")
def every_second_token_lost(ids, pair, new):
    merged = []
    for i in range(0, len(ids), 2):
        merged.append(new if ids[i : i + 2] == list(pair) else ids[i])
    return merged


EXERCISE = Exercise(
    id="merge_pair",
    title="Merge one pair",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "Walk through the list from the left. Where this token and the next are the pair, write `new` and skip both.",
        "With `while` you say yourself how far i goes on: by two behind a merge, by one otherwise. The last token has "
        "no neighbour: `ids[i : i + 2]` is a list of one token there, and no error. `pair` may be a tuple.",
    ),
    reference=merge_pair,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, Cutting text into tokens",
)

"""Byte-pair encoding learns its vocabulary: the most frequent pair becomes a token, again and again."""

import itertools
from collections import Counter

import torch

from course_lib.exercises.ch03_pretraining.merge_pair import merge_pair
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def learn_merges(words, n_merges):
    words, merges = [(list(ids), times) for ids, times in words], []
    for new in range(256, 256 + n_merges):
        counts = Counter()
        for ids, times in words:
            for pair in itertools.pairwise(ids):
                counts[pair] += times
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # of several alike, the smallest
        merges.append(list(best))
        words = [(merge_pair(ids, best, new), times) for ids, times in words]
    return merges


def cases(rng):
    def counted(text):
        return [[list(word.encode()), times] for word, times in Counter(text.split()).items()]

    letters = torch.randint(97, 100, (60,), generator=rng).tolist()
    times = torch.randint(1, 9, (12,), generator=rng).tolist()
    random = [[letters[5 * i : 5 * i + 5], n] for i, n in enumerate(times)]
    a = int(torch.randint(5, 120, (), generator=rng))
    return [
        Case("low lower lowest new newest", ([[list(w.encode()), 3] for w in ("low", "lower", "lowest", "new")], 3)),
        Case("rare long words, one frequent short word", (counted("zq " * 9 + "ababab abab abba"), 4)),
        Case("all pairs equally frequent", ([[[a + 3, a + 2], 2], [[a + 1, a], 2], [[a, a + 1], 2]], 3)),
        Case("banana", ([[list(b"banana"), 5], [list(b"bandana"), 2], [list(b"ananas"), 1]], 3)),
        Case("three alike, in which their pair counts twice", ([[[a, a, a], 2], [[a + 9, a + 4], 3]], 2)),
        Case(
            "a frequent word, and two rare ones",
            ([[[a, a + 1, a + 2], 5], [[a + 3, a + 4], 1], [[a + 3, a + 4], 1]], 2),
        ),
        Case("random words", (random, 6)),
    ]


@alternative
def with_tuples(words, n_merges):
    words = [(tuple(ids), times) for ids, times in words]
    merges = []
    while len(merges) < n_merges:
        seen = {}
        for ids, times in words:
            for i in range(len(ids) - 1):
                seen[ids[i : i + 2]] = seen.get(ids[i : i + 2], 0) + times
        most = max(seen.values())
        pair = sorted(pair for pair, times in seen.items() if times == most)[0]
        words = [(tuple(merge_pair(ids, pair, 256 + len(merges))), times) for ids, times in words]
        merges.append(pair)
    return merges


# The three steps that are repeated: count the pairs, choose one, merge it in every word.


def count_pairs(words):
    counts = Counter()
    for ids, times in words:
        for pair in itertools.pairwise(ids):
            counts[pair] += times
    return counts


def smallest_of_the_most_frequent(counts):
    return min(counts, key=lambda pair: (-counts[pair], pair))


def merge_everywhere(words, pair, new):
    return [(merge_pair(ids, pair, new), times) for ids, times in words]


def learn_with(words, n_merges, choose=smallest_of_the_most_frequent, first_new=256, count=count_pairs):
    """The right answer, but for the ways to count and to choose, and the number of the first new token."""
    merges = []
    for new in range(first_new, first_new + n_merges):
        pair = choose(count(words))
        merges.append(list(pair))
        words = merge_everywhere(words, pair, new)
    return merges


@mistake(
    "Every word counts once here. But a word that occurs a thousand times in the text should count a thousand times: "
    "add `times`, not 1."
)
def every_word_counts_once(words, n_merges):
    return learn_with([(ids, 1) for ids, times in words], n_merges)


@mistake(
    "Nearly: of several pairs that are equally frequent this takes the one that was seen first. Take the smallest, so "
    "that the answer does not depend on the order of the words."
)
def first_seen_of_the_most_frequent(words, n_merges):
    def first_seen(counts):
        return max(counts, key=counts.get)

    return learn_with(words, n_merges, choose=first_seen)


@mistake("Nearly: of several pairs that are equally frequent this takes the largest. Take the smallest.")
def largest_of_the_most_frequent(words, n_merges):
    def largest(counts):
        return max(counts, key=lambda pair: (counts[pair], pair))

    return learn_with(words, n_merges, choose=largest)


# Learners write the same mistake in two ways, which differ where pairs are equally frequent.
WORDS_NEVER_CHANGE = (
    "The words never change. After each choice merge the pair in every word, so that the new token can be part of the "
    "next pair."
)


@mistake(WORDS_NEVER_CHANGE)
def words_never_change(words, n_merges):
    counts = count_pairs(words)
    by_frequency = sorted(counts, key=lambda pair: (-counts[pair], pair))
    return [list(pair) for pair in by_frequency[:n_merges]]


@mistake(WORDS_NEVER_CHANGE)
def most_common_at_first(words, n_merges):
    return [list(pair) for pair, times in count_pairs(words).most_common(n_merges)]


@mistake(
    "The counts of earlier rounds are still there. A merge takes its pair out of the words, and parts of others with "
    "it: begin with an empty count in each round."
)
def counts_pile_up(words, n_merges):
    counts, merges = Counter(), []
    for new in range(256, 256 + n_merges):
        counts += count_pairs(words)
        pair = smallest_of_the_most_frequent(counts)
        merges.append(list(pair))
        words = merge_everywhere(words, pair, new)
    return merges


# Two ways to count too few: each pair once in a word, or only those that do not overlap.
OVERLAPS_LEFT_OUT = (
    "In 7 7 7 the pair 7 7 counts once here. Count every place where two tokens are neighbours: there are two."
)


@mistake(OVERLAPS_LEFT_OUT)
def once_in_a_word(words, n_merges):
    def count(words):
        counts = Counter()
        for ids, times in words:
            for pair in dict.fromkeys(itertools.pairwise(ids)):
                counts[pair] += times
        return counts

    return learn_with(words, n_merges, count=count)


@mistake(OVERLAPS_LEFT_OUT)
def without_overlaps(words, n_merges):
    def count(words):
        counts = Counter()
        for ids, times in words:
            counted = None
            for pair in itertools.pairwise(ids):
                counted = None if pair == counted else pair
                if counted:
                    counts[pair] += times
        return counts

    return learn_with(words, n_merges, count=count)


@mistake(
    "The same pair is chosen again and again, so it was not replaced in the words. Does your `merge_pair` compare a "
    "list with a tuple, or did you drop its result?"
)
def same_pair_again(words, n_merges):
    return [list(smallest_of_the_most_frequent(count_pairs(words)))] * n_merges


@mistake("The first new token is number 255 here. Bytes are 0 to 255, so begin at 256.")
def begins_at_255(words, n_merges):
    return learn_with(words, n_merges, first_new=255)


@mistake("The first new token is number 257 here. Bytes are 0 to 255, so begin at 256.")
def begins_at_257(words, n_merges):
    return learn_with(words, n_merges, first_new=257)


@mistake("Pairs reach from one word into the next here. Count the neighbours inside each word.")
def pairs_across_words(words, n_merges):
    text = [token for ids, times in words for token in ids * times]
    return learn_with([(text, 1)], n_merges)


@mistake(
    "This takes the smallest pair, however often it comes. The most frequent one comes first; ties go to the smallest."
)
def smallest_of_all(words, n_merges):
    return learn_with(words, n_merges, choose=min)


@mistake("This takes the *least* frequent pair. Take the most frequent one.")
def least_frequent(words, n_merges):
    return learn_with(words, n_merges, choose=lambda counts: min(counts, key=lambda pair: (counts[pair], pair)))


@mistake("Every new token is number 256 here. The first is 256, the next 257, and so on.")
def always_256(words, n_merges):
    merges = []
    for _ in range(n_merges):
        pair = smallest_of_the_most_frequent(count_pairs(words))
        merges.append(list(pair))
        words = merge_everywhere(words, pair, 256)
    return merges


@mistake("New tokens continue the largest number that occurs. Any byte may occur in other words: begin at 256.")
def one_more_than_the_largest(words, n_merges):
    merges = []
    for _ in range(n_merges):
        new = 1 + max(token for ids, times in words for token in ids)
        pair = smallest_of_the_most_frequent(count_pairs(words))
        merges.append(list(pair))
        words = merge_everywhere(words, pair, new)
    return merges


@mistake("Each entry has a third number, that of the new token. Return the pairs alone, `[left, right]`.")
def with_the_new_token(words, n_merges):
    return [[*pair, 256 + i] for i, pair in enumerate(learn_merges(words, n_merges))]


@mistake(
    "Only the first merge comes back. Is the `return` inside the loop? Then the function ends in its first round: move "
    "it to the left, under the `for`."
)
def first_merge_alone(words, n_merges):
    return learn_merges(words, 1)


@mistake("One merge is missing. A loop over `range(n_merges)` makes `n_merges` rounds.")
def one_merge_too_few(words, n_merges):
    return learn_merges(words, n_merges - 1)


@mistake("The last pair of each word is not counted: a word of n tokens has n - 1 neighbours, `range(len(ids) - 1)`.")
def last_pair_not_counted(words, n_merges):
    def count(words):
        return count_pairs([(ids[:-1], times) for ids, times in words])

    return learn_with(words, n_merges, count=count)


@mistake("After the first merge every word counts once. Keep `times` beside the new word.")
def times_lost(words, n_merges):
    pair = smallest_of_the_most_frequent(count_pairs(words))
    rest = learn_with([(merge_pair(ids, pair, 256), 1) for ids, times in words], n_merges - 1, first_new=257)
    return [list(pair), *rest]


@mistake("A pair has the count of the last word in which it was found, `=`. Add up over all words, `+=`.")
def counts_written_over(words, n_merges):
    def count(words):
        return {pair: times for ids, times in words for pair in itertools.pairwise(ids)}

    return learn_with(words, n_merges, count=count)


@mistake("The pairs 1 2 and 2 1 are counted as one here. They are two: the order of the tokens counts.")
def order_ignored(words, n_merges):
    def count(words):
        counts = Counter()
        for pair, times in count_pairs(words).items():
            counts[tuple(sorted(pair))] += times
        return counts

    return learn_with(words, n_merges, count=count)


@mistake("The pair is merged in the first word alone. Merge it in every word.")
def merged_in_the_first_word(words, n_merges):
    merges = []
    for new in range(256, 256 + n_merges):
        pair = smallest_of_the_most_frequent(count_pairs(words))
        merges.append(list(pair))
        words = [*merge_everywhere(words[:1], pair, new), *words[1:]]
    return merges


@mistake("There is one merge too many. Stop when there are `n_merges`.")
def one_merge_too_many(words, n_merges):
    return learn_merges(words, n_merges + 1)


EXERCISE = Exercise(
    id="learn_merges",
    title="Learn a vocabulary",
    points=3,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Repeat: count all pairs of neighbours, each as often as its word occurs; choose one; merge it everywhere.",
        "Count with a dict, or a `Counter`, that is new in each round. `min(counts, key=...)` takes the pair whose key "
        "is smallest, and a key may be a tuple: first what matters more. Then every word becomes what `merge_pair` "
        "makes of it, with the same `times`.",
    ),
    reference=learn_merges,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("merge_pair",),
    see="Chapter 3, Cutting text into tokens",
)

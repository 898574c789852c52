"""A language model made by counting, with a fault: how often does one token follow another?"""

import math

import numpy as np
import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def bigram_surprise(train, test, vocab_size):
    pairs = torch.bincount(train[:-1] * vocab_size + train[1:], minlength=vocab_size**2)
    counts = pairs.reshape(vocab_size, vocab_size) + 1.0  # one of each pair for free
    p = counts / counts.sum(dim=1, keepdim=True)
    return -p[test[:-1], test[1:]].log()


def cases(rng):
    train, test = (torch.randint(4, (n,), generator=rng) for n in (30, 12))
    long = (torch.randint(400, (n,), generator=rng) for n in (30_000, 10_000))
    sticky = torch.tensor([0, 0, 0, 1, 1, 2, 0, 0, 1, 2, 2, 2, 0, 1])
    return [
        Case("abracadabra", (torch.tensor([0, 1, 2, 0, 3, 0, 4, 0, 1, 2, 0]), torch.tensor([0, 1, 2, 0, 3]), 5)),
        Case("3 tokens, uneven", (sticky, torch.randint(3, (11,), generator=rng), 3)),
        Case("random text, 4 tokens", (train, test, 4)),
        Case("a first token that was never seen", (torch.tensor([0, 1, 0, 2, 1, 0]), torch.tensor([3, 0, 1, 3]), 5)),
        # An answer that reads all of `train` for each token of `test`, or for each pair of tokens, would take hours in
        # the lab. Here the time limit says so.
        Case("30,000 tokens to count, 10,000 to score, 400 different ones", (*long, 400)),
    ]


@alternative
def by_loops(train, test, vocab_size):
    counts = [[1] * vocab_size for _ in range(vocab_size)]
    train, test = train.tolist(), test.tolist()
    for i in range(len(train) - 1):
        counts[train[i]][train[i + 1]] += 1
    totals = [sum(row) for row in counts]
    surprise = []
    for i in range(1, len(test)):
        p = counts[test[i - 1]][test[i]] / totals[test[i - 1]]
        surprise.append(-math.log(p))
    return torch.tensor(surprise)


@alternative
def by_numpy(train, test, vocab_size):
    counts = np.ones((vocab_size, vocab_size))
    np.add.at(counts, (train[:-1].numpy(), train[1:].numpy()), 1)
    p = counts / counts.sum(axis=1, keepdims=True)
    return torch.tensor(-np.log(p[test[:-1].numpy(), test[1:].numpy()]), dtype=torch.float32)


# The two steps that the mistakes below share with the right answer.


def count_pairs(train, vocab_size):
    """counts[a, b]: how often b follows a in `train`, without the 1 that is added to each."""
    pairs = torch.bincount(train[:-1] * vocab_size + train[1:], minlength=vocab_size**2)
    return pairs.reshape(vocab_size, vocab_size).float()


def row_sums(counts):
    return counts.sum(1, keepdim=True)


def surprise_by_table(p, test):
    return -p[test[:-1], test[1:]].log()


@mistake(
    "A pair that training never saw has no count, or next to none. With 0 its surprise is infinite (or not a number, "
    "where even the first token is new), with a tiny number it is huge. Add 1 to the count of every pair."
)
def nothing_added(train, test, vocab_size):
    counts = count_pairs(train, vocab_size)
    return surprise_by_table(counts / row_sums(counts), test)


@mistake(
    "This divides by how often the *second* token was seen. The question is what follows the first one: make each row "
    "of the table sum to 1, not each column."
)
def columns_sum_to_1(train, test, vocab_size):
    counts = count_pairs(train, vocab_size) + 1
    return surprise_by_table(counts / counts.sum(0, keepdim=True), test)


@mistake(
    "These are the sums of the rows, but without `keepdim=True` they lie along the columns, and each column is divided "
    "by one of them. Write `counts.sum(1, keepdim=True)`."
)
def sums_of_the_rows_along_the_columns(train, test, vocab_size):
    counts = count_pairs(train, vocab_size) + 1
    return surprise_by_table(counts / counts.sum(1), test)


@mistake(
    "This is the probability of the pair among all pairs. But the first token is already known: divide by the number "
    "of pairs that begin with it, the sum of its row."
)
def probability_of_the_pair(train, test, vocab_size):
    counts = count_pairs(train, vocab_size) + 1
    return surprise_by_table(counts / counts.sum(), test)


@mistake(
    "The fault is still there: the probabilities in a row add up to more than 1, as if some of the money could be bet "
    "twice. 1 is added to each of the vocab_size counts of a row, so the sum of the row grows as well.",
    given=True,
)
def added_to_the_counts_alone(train, test, vocab_size):
    counts = count_pairs(train, vocab_size)
    return surprise_by_table((counts + 1) / row_sums(counts), test)


@mistake(
    "Half of it: 1 is added to each of the vocab_size counts of a row, and this adds 1 to their sum. By how much does "
    "the sum grow?"
)
def one_more_for_the_row(train, test, vocab_size):
    counts = count_pairs(train, vocab_size)
    return surprise_by_table((counts + 1) / (row_sums(counts) + 1), test)


@mistake(
    "The sum of a row has grown, but not its counts, so a pair that was never seen is impossible. Add 1 to every "
    "count, and then divide each row by its sum."
)
def added_to_the_sums_alone(train, test, vocab_size):
    counts = count_pairs(train, vocab_size)
    return surprise_by_table(counts / (row_sums(counts) + vocab_size), test)


@mistake(
    "A pair that occurs several times is counted once. With tensors a and b, `counts[a, b] += 1` adds 1 once to each "
    "place. Use `bincount`, or `index_put_` with `accumulate=True`."
)
def repeated_pairs_count_once(train, test, vocab_size):
    counts = count_pairs(train, vocab_size).clamp(max=1) + 1
    return surprise_by_table(counts / row_sums(counts), test)


@mistake(
    "Nothing was counted, so all tokens come out equally likely. Two elements of a tensor are never the same key of a "
    "dictionary, even if they are equal: count over `train.tolist()`."
)
def nothing_counted(train, test, vocab_size):
    counts = torch.ones(vocab_size, vocab_size)
    return surprise_by_table(counts / row_sums(counts), test)


@mistake(
    "Rows and columns are exchanged: this counts what came *before* a token, not what follows it. The row of the table "
    "is the first token of the pair."
)
def counted_backwards(train, test, vocab_size):
    counts = count_pairs(train, vocab_size).T + 1
    return surprise_by_table(counts / row_sums(counts), test)


@mistake(
    "The table is read the wrong way round: this is how likely the earlier token is to follow the later one. The row "
    "is the earlier token, the column the later one."
)
def read_backwards(train, test, vocab_size):
    counts = count_pairs(train, vocab_size) + 1
    return surprise_by_table((counts / row_sums(counts)).T, test)


@mistake(
    "Nearly: this divides by how often the first token occurs. At the end of `train` nothing follows it: divide by the "
    "sum of its row."
)
def divided_by_occurrences(train, test, vocab_size):
    counts = count_pairs(train, vocab_size) + 1
    occurrences = torch.bincount(train, minlength=vocab_size)[:, None]
    return surprise_by_table(counts / (occurrences + vocab_size), test)


@mistake("This counts in `test`, so it knows the answers. Count in `train`.")
def counted_in_test(train, test, vocab_size):
    return bigram_surprise(test, test, vocab_size)


@mistake("2 is added to each count here, 1 twice. Begin with a table of ones, or add 1 afterwards.")
def added_twice(train, test, vocab_size):
    counts = count_pairs(train, vocab_size) + 2
    return surprise_by_table(counts / row_sums(counts), test)


@mistake("The sign is flipped: surprise is *minus* the logarithm of the probability, and never negative.")
def sign_flipped(train, test, vocab_size):
    return -bigram_surprise(train, test, vocab_size)


@mistake("This is in bits. Take the natural logarithm.")
def in_bits(train, test, vocab_size):
    return bigram_surprise(train, test, vocab_size) / torch.tensor(2.0).log()


@mistake("This is the mean surprise. Return the surprise at every token of `test` but the first.")
def mean_surprise(train, test, vocab_size):
    return bigram_surprise(train, test, vocab_size).mean()


@mistake("These are the probabilities, and they are right. One step more: minus the logarithm.")
def probabilities(train, test, vocab_size):
    return (-bigram_surprise(train, test, vocab_size)).exp()


@mistake("`train` and `test` are exchanged: count in `train`, and return the surprise at the tokens of `test`.")
def texts_exchanged(train, test, vocab_size):
    return bigram_surprise(test, train, vocab_size)


@mistake("This counts single tokens, whatever came before. Count the pairs: a row for the token before.")
def single_tokens(train, test, vocab_size):
    counts = torch.bincount(train, minlength=vocab_size) + 1.0
    return -(counts / counts.sum())[test[1:]].log()


@mistake(
    "The sum of a row grows by far more than its counts. 1 is added to each of the `vocab_size` counts of the row: by "
    "how much does their sum grow?"
)
def every_pair_added_to_the_row(train, test, vocab_size):
    counts = count_pairs(train, vocab_size)
    return surprise_by_table((counts + 1) / (row_sums(counts) + vocab_size**2), test)


@mistake(
    "A row that was never seen is divided by its sum, 0, and that spoils it for good. Add 1 to the counts first, and "
    "then divide them by their own sum, once."
)
def divided_twice(train, test, vocab_size):
    counts = count_pairs(train, vocab_size)
    p = (counts + 1) / row_sums(counts)
    return surprise_by_table(p / row_sums(p), test)


@mistake("The last pair of `train` is not counted: a text of n tokens has n - 1 pairs.")
def last_pair_not_counted(train, test, vocab_size):
    return bigram_surprise(train[:-1], test, vocab_size)


@mistake("The last token of `test` has no surprise. Only the first one has none, since nothing stands before it.")
def last_token_left_out(train, test, vocab_size):
    return bigram_surprise(train, test[:-1], vocab_size)


@mistake(
    "Only the first surprise comes back. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_surprise_alone(train, test, vocab_size):
    return bigram_surprise(train, test[:2], vocab_size)


EXERCISE = Exercise(
    id="bigram_surprise",
    title="A table of counts, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "A row of `p` says what may follow one token. Print `p.sum(dim=1)`. What should come out, and what does it "
        "mean if more comes out?",
        "The faulty function adds 1 to each count, but sums the counts without it. What a row is divided by has to be "
        "the sum of just those numbers that stand in it.",
    ),
    reference=bigram_surprise,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 3, A unit that everybody can use",
)

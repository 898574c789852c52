"""Near-duplicates by the n-grams they share: the Jaccard similarity with what is kept so far."""

import operator

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def near_copies(documents, n, threshold):
    kept, keep = [], []
    for document in documents:
        grams = {tuple(document[i : i + n]) for i in range(len(document) - n + 1)}
        new = all(len(grams & other) / len(grams | other) < threshold for other in kept)
        keep.append(new)
        if new:
            kept.append(grams)
    return keep


def cases(rng):
    def fresh(length, letters=8):
        return torch.randint(letters, (length,), generator=rng).tolist()

    def changed(document, places):
        copy = list(document)
        for place in torch.randperm(len(copy), generator=rng)[:places].tolist():
            copy[place] = 8 + int(torch.randint(4, (), generator=rng))  # a token that the originals lack
        return copy

    def shuffled(documents):
        return [documents[i] for i in torch.randperm(len(documents), generator=rng).tolist()]

    def crawl(n_originals, n_copies, length, places):
        originals = [fresh(length) for _ in range(n_originals)]
        return shuffled(originals + [changed(originals[0], places) for _ in range(n_copies)])

    def chain(length, steps, places):
        # Each is a near-copy of the one before it, and the last of the first no more.
        documents = [fresh(length)]
        for step in range(steps):
            copy = list(documents[-1])
            copy[step * places : (step + 1) * places] = [20 + step] * places
            documents.append(copy)
        return documents

    def part(length):
        whole = fresh(length)
        return [whole, fresh(length), whole[: length // 3]]

    def repetitive(length):
        # The same few n-grams again and again, and a copy that ends in something else.
        unit = fresh(4)
        document = (unit * length)[:length]
        return [document, fresh(length), document[: length // 2] + fresh(length // 2)]

    def in_any_order(*blocks):
        # Blocks that have no token in common.
        order = torch.randperm(len(blocks), generator=rng).tolist()
        return [[100 * i + token for token in document] for i in order for document in blocks[i]]

    def again_and_again():
        # As sets, the first two share a third, and the other two less; as lists it is the other way round.
        one = [[1, 2, 1, 2, 1, 2, 3, 4], [1, 2, 1, 5, 6]]
        other = [[1, 2, 1, 8, 9, 10, 11], [1, 2, 1, 2, 1, 2, 1, 2, 3, 4, 5, 6, 7]]
        return in_any_order(one, other)

    def backwards():
        there = list(range(9))
        return in_any_order([there, there[::-1]], [there, there[1:]])

    def half_shared():
        # The second has seven of the first one's twelve runs, and five of its own.
        first = list(range(14))
        return in_any_order([first, [*first[:9], *range(20, 25)]], [first, first])

    def same_end():
        # The last two tokens alone are the same; of the others all three-token runs but one.
        return in_any_order([[1, 2, 3, 8, 9], [4, 5, 6, 8, 9]], [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]])

    shorter = part(36)
    return [
        Case(
            "by hand: pairs of neighbours, two of four are shared",
            ([[1, 2, 3, 4], [2, 3, 4, 5], [7, 8, 9]], 2, 0.5),
            expected=[True, False, True],
        ),
        Case("exact copies only", (shuffled([fresh(12), fresh(12)] * 2), 3, 1.0)),
        Case("copies with two tokens changed", (crawl(6, 5, 30, 2), 3, 0.3)),
        Case("copies with four tokens changed, a high threshold", (crawl(6, 6, 30, 4), 3, 0.6)),
        Case("a low threshold", (crawl(5, 6, 40, 6), 2, 0.15)),
        Case("each a near-copy of the one before", (chain(30, 8, 3), 3, 0.5)),
        Case("a part of another document", (part(36), 3, 0.5)),
        Case("first a part, then the whole document", (shorter[::-1], 3, 0.5)),
        Case("the same pairs again and again", (again_and_again(), 2, 0.3)),
        Case("the same tokens backwards", (backwards(), 3, 0.5)),
        Case("the same end, shorter than n", (same_end(), 3, 0.2)),
        Case("seven of twelve runs shared, and a copy", (half_shared(), 3, 0.6)),
        Case("documents that repeat themselves", (repetitive(24), 3, 0.2)),
    ]


@alternative
def by_similarity(documents, n, threshold):
    def similarity(one, other):
        return len(one & other) / len(one | other)

    grams = [set(zip(*(document[i:] for i in range(n)), strict=False)) for document in documents]
    keep = []
    for i, mine in enumerate(grams):
        keep.append(not any(keep[j] and similarity(mine, grams[j]) >= threshold for j in range(i)))
    return keep


@alternative
def by_an_index(documents, n, threshold):
    # Only documents that share an n-gram need to be compared.
    holders, sizes, keep = {}, {}, []
    for number, document in enumerate(documents):
        grams = {tuple(document[i : i + n]) for i in range(len(document) - n + 1)}
        shared = {}
        for gram in grams:
            for other in holders.get(gram, ()):
                shared[other] = shared.get(other, 0) + 1
        new = all(both / (len(grams) + sizes[other] - both) < threshold for other, both in shared.items())
        keep.append(new)
        if new:
            sizes[number] = len(grams)
            for gram in grams:
                holders.setdefault(gram, []).append(number)
    return keep


@alternative
def with_plain_loops(documents, n, threshold):
    kept, keep = [], []
    for document in documents:
        grams = set()
        for i in range(len(document) - n + 1):
            grams.add(tuple(document[i : i + n]))
        new = True
        for other in kept:
            both = 0
            for gram in grams:
                if gram in other:
                    both += 1
            if both / (len(grams) + len(other) - both) >= threshold:
                new = False
        keep.append(new)
        if new:
            kept.append(grams)
    return keep


def _grams(document, n):
    return {tuple(document[i : i + n]) for i in range(len(document) - n + 1)}


def _jaccard(one, other):
    return len(one & other) / len(one | other)


def _keep(documents, n, threshold, similarity=_jaccard, grams=_grams, reaches=operator.ge, of_kept=True):
    sets, keep = [grams(document, n) for document in documents], []
    for i, mine in enumerate(sets):
        earlier = [sets[j] for j in range(i) if keep[j] or not of_kept]
        keep.append(not any(reaches(similarity(mine, other), threshold) for other in earlier))
    return keep


@mistake("A document whose similarity is exactly the threshold stays here. It goes: compare with `>=`.")
def strictly_above(documents, n, threshold):
    return _keep(documents, n, threshold, reaches=operator.gt)


@mistake(
    "Documents are compared with all earlier ones, also with those that were dropped. Then a whole chain may go, of "
    "which nothing like the last one is kept. Compare with what is kept."
)
def with_dropped_ones(documents, n, threshold):
    return _keep(documents, n, threshold, of_kept=False)


def share_of_this_document(this, other):
    return len(this & other) / len(this)


@mistake(
    "The shared n-grams are divided by those of this document alone. Then a short piece of a long document counts as a "
    "copy of it. Divide by the n-grams in either of the two."
)
def containment(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=share_of_this_document)


def share_of_the_sum(one, other):
    return len(one & other) / (len(one) + len(other))


@mistake(
    "The shared n-grams are divided by the sum of both counts, which counts shared ones twice. Divide by the union."
)
def over_the_sum(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=share_of_the_sum)


def all_but_the_last(document, n):
    grams = {tuple(document[i : i + n]) for i in range(len(document) - n)}
    return grams or {()}  # of a document of n tokens nothing is left, and similarities divide by the number of n-grams


@mistake("The last n-gram of each document is missing: there are len(document) - n + 1.")
def last_one_missing(documents, n, threshold):
    return _keep(documents, n, threshold, grams=all_but_the_last)


def pieces(document, n):
    return {tuple(document[i : i + n]) for i in range(0, len(document) - n + 1, n)}


@mistake(
    "The documents are cut into pieces of n tokens, one after the other. One token more at the beginning, and no "
    "piece is the same. Take the n tokens from every place on."
)
def cut_in_pieces(documents, n, threshold):
    return _keep(documents, n, threshold, grams=pieces)


@mistake("This compares single tokens. Compare runs of n tokens: order is what tells a copy from a similar text.")
def single_tokens(documents, n, threshold):
    return _keep(documents, 1, threshold)


@mistake(
    "This drops exact copies only. A near-copy differs in a few tokens. (`//` rounds every similarity below 1 down to "
    "0: divide with `/`.)"
)
def exact_copies(documents, n, threshold):
    return [document not in documents[:i] for i, document in enumerate(documents)]


@mistake("This marks the copies. Mark what is kept.")
def marks_the_copies(documents, n, threshold):
    return [not keep for keep in _keep(documents, n, threshold)]


@mistake("The first of several copies is dropped too. One of them has to stay.")
def none_stays(documents, n, threshold):
    sets = [_grams(document, n) for document in documents]
    return [
        not any(i != j and _jaccard(mine, other) >= threshold for j, other in enumerate(sets))
        for i, mine in enumerate(sets)
    ]


def share_of_the_other(this, other):
    return len(this & other) / len(other)


@mistake(
    "The shared n-grams are divided by those of the *kept* document alone. Then a long document counts as a copy of a "
    "short piece of it. Divide by the n-grams in either of the two."
)
def over_the_kept_one(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=share_of_the_other)


def share_of_the_smaller(this, other):
    return len(this & other) / min(len(this), len(other))


@mistake(
    "The shared n-grams are divided by those of the *smaller* set. Then a document and a short piece of it count as "
    "copies. Divide by the n-grams in either of the two."
)
def over_the_smaller(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=share_of_the_smaller)


def share_of_the_larger(this, other):
    return len(this & other) / max(len(this), len(other))


@mistake(
    "The shared n-grams are divided by those of the *larger* set. Divide by the n-grams in either of the two, which "
    "are more if each has some of its own."
)
def over_the_larger(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=share_of_the_larger)


def dice(this, other):
    return 2 * len(this & other) / (len(this) + len(other))


@mistake(
    "The shared n-grams are divided by the *mean* of both counts. That is another similarity, called after Dice, and "
    "it is larger. Divide by the union, `|`."
)
def over_the_mean(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=dice)


def shared_to_unshared(this, other):
    return len(this & other) / max(len(this ^ other), 1e-9)


@mistake(
    "The shared n-grams are divided by those that are *not* shared. Divide by all of them: the n-grams in either of "
    "the two, those in both too."
)
def over_the_unshared(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=shared_to_unshared)


def lists_of_grams(document, n):
    return [tuple(document[i : i + n]) for i in range(len(document) - n + 1)]


def share_of_lists(this, other):
    both = sum(gram in other for gram in this)
    return both / max(len(this) + len(other) - both, 1e-9)


@mistake(
    "A run that comes several times in a document counts several times here. A and B are *sets*: each n-gram counts "
    "once, so make sets, `{...}`, and not lists."
)
def counted_again(documents, n, threshold):
    return _keep(documents, n, threshold, similarity=share_of_lists, grams=lists_of_grams)


def without_order(document, n):
    return {frozenset(document[i : i + n]) for i in range(len(document) - n + 1)}


@mistake(
    "The order within an n-gram is lost, as with a set of its tokens. 1 2 3 and 3 2 1 are two n-grams: make a `tuple`."
)
def order_lost(documents, n, threshold):
    return _keep(documents, n, threshold, grams=without_order)


def with_short_ends(document, n):
    return {tuple(document[i : i + n]) for i in range(len(document))}


@mistake(
    "The last runs are shorter than n: a slice that goes beyond the end is cut off there. The last full one begins at "
    "len(document) - n."
)
def short_ends(documents, n, threshold):
    return _keep(documents, n, threshold, grams=with_short_ends)


@mistake("This takes runs of n - 1 tokens. n are wanted: `document[i : i + n]` ends before place i + n.")
def one_too_short(documents, n, threshold):
    return _keep(documents, n - 1, threshold)


@mistake("A document is compared with the one before it alone. Compare it with *every* document kept so far.")
def with_the_last_alone(documents, n, threshold):
    sets = [_grams(document, n) for document in documents]
    pairs = zip(sets[1:], sets, strict=False)
    return [True, *(_jaccard(this, before) < threshold for this, before in pairs)]


@mistake(
    "The comparison with the *first* document decides alone here. Compare with every document kept so far. (In a loop, "
    "a `return` or `break` at the end of the first round would do this.)"
)
def with_the_first_alone(documents, n, threshold):
    sets = [_grams(document, n) for document in documents]
    return [True, *(_jaccard(sets[0], this) < threshold for this in sets[1:])]


@mistake(
    "The comparison with the document that was kept *last* decides alone here, and near-copies of earlier ones are "
    "kept. Compare with all that are kept. Once a near-copy is found, it has to stay found: `break`, or ask with `all`."
)
def last_comparison_decides(documents, n, threshold):
    kept, keep = [], []
    for document in documents:
        grams, new = _grams(document, n), True
        for other in kept:
            new = _jaccard(grams, other) < threshold
        keep.append(new)
        if new:
            kept.append(grams)
    return keep


@mistake(
    "It is enough here to be unlike *one* of the kept documents. It has to be unlike all of them: `all`, not `any`."
)
def unlike_one(documents, n, threshold):
    kept, keep = [], []
    for document in documents:
        grams = _grams(document, n)
        new = not kept or any(_jaccard(grams, other) < threshold for other in kept)
        keep.append(new)
        if new:
            kept.append(grams)
    return keep


@mistake(
    "This keeps what is *similar* to all that is kept. A document is kept if its similarity is below the threshold."
)
def keeps_the_similar(documents, n, threshold):
    return _keep(documents, n, threshold, reaches=operator.le)


@mistake("These are the documents that are kept. Return True or False for each of all documents.")
def the_documents(documents, n, threshold):
    return [document for document, keep in zip(documents, _keep(documents, n, threshold), strict=True) if keep]


@mistake("These are the places of the documents that are kept. Return True or False for each of all documents.")
def the_places(documents, n, threshold):
    return [place for place, keep in enumerate(_keep(documents, n, threshold)) if keep]


EXERCISE = Exercise(
    id="near_copies",
    title="Find near-copies",
    points=3,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Make a set of tuples of each document: the n tokens from every place on. How many are in both sets, and how "
        "many in either? Go through the documents in order, and remember the sets of what you keep.",
        "`{tuple(document[i : i + n]) for i in ...}` makes such a set; up to which i? `&` and `|` of two sets give "
        "what is in both and in either. Ask for every set that was kept, before you keep another one.",
    ),
    reference=near_copies,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, Copies that are not quite the same",
)

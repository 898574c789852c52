"""Test documents that leaked into training, found by n-gram overlap, from code that cuts its text into pieces."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def leaked(tests, documents, n):
    def grams(document):
        return {tuple(document[i : i + n]) for i in range(len(document) - n + 1)}

    known = set().union(*map(grams, documents))
    return [not known.isdisjoint(grams(test)) for test in tests]


def cases(rng):
    def fresh(length, letters=50):
        return torch.randint(letters, (length,), generator=rng).tolist()

    def some(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def place(n, aligned):
        # Where a run begins: at a multiple of n, or not.
        return n * some(1, 3) + (0 if aligned else some(1, n))

    def scene(n, *kinds):
        """A test for each kind of leak, and for each a training document that holds it, in random order."""
        pairs = [leak(n, kind) for kind in kinds]
        order = torch.randperm(len(pairs), generator=rng).tolist()
        tests = [test for test, _ in pairs]
        return [tests[i] for i in order], [document for _, documents in pairs for document in documents], n

    def leak(n, kind):
        test, document = fresh(3 * n + 5), fresh(3 * n + 8)
        if kind == "tiny":  # no run of n tokens, not even in the copy
            return test[: n - 1], [test[: n - 2]]
        if kind == "nothing":
            return test, [document]
        if kind == "whole":
            return test, [document[: some(1, n)] + test + document[: some(1, n)]]
        if kind == "border":  # nobody ever read these n tokens in a row
            return test, [document + test[2 : 2 + n // 2], test[2 + n // 2 : 4 + n] + document]
        if kind == "last":  # as many as n - 1 tokens, at the end of both
            return test, [document[: 1 - n] + test[1 - n :]]
        start, at, run = place(n, kind in ("both", "test")), place(n, kind in ("both", "document")), n
        if kind == "end":
            start, at = len(test) - n, len(document) - n
        if kind == "begin":
            start, at = 0, 1
        if kind == "long":  # two tokens apart, counted from multiples of n
            start, at, run = 1, n + 3, 2 * n + 1
        if kind == "short":
            run = n - 1
        copied = test[start : start + run]
        document[at : at + run] = copied[::-1] if kind == "backwards" else copied
        return test, [document]

    def alike():
        # As text, with or without spaces, two of the tests stand in documents: 1 23 4 in 12 3 4, and 1 2 3 in 41 2 3.
        a, b, c, d, e = (some(1, 10) for _ in range(5))
        tests = [[a, 10 * b + c, d], [c, d, e], [e, d, 77]]
        documents = [[10 * a + b, c, d], [10 * b + c, d, e], [5, e, d, 77]]
        order = torch.randperm(3, generator=rng).tolist()
        return [tests[i] for i in order], documents, 3

    return [
        Case(
            "by hand: the first shares 4 5 6, the second two in a row only",
            ([[3, 4, 5, 6], [1, 2, 9, 8]], [[7, 4, 5, 6, 7], [0, 1, 2, 3]], 3),
            expected=[True, False],
        ),
        Case(
            "two tests and a document, of which all but one are too short for a run of 3",
            ([[1, 2], [1, 2, 4]], [[1, 2]], 3),
            expected=[False, False],
        ),
        Case("whole tests within longer documents", scene(8, "nothing", "whole", "nothing", "whole", "nothing")),
        Case("runs of exactly 6 tokens", scene(6, "both", "test", "document", "neither", "nothing", "nothing")),
        Case("runs at either end, and long ones", scene(5, "end", "long", "nothing", "begin", "nothing", "neither")),
        Case("runs of 6 tokens, where 7 are asked for", scene(7, "short", "neither", "tiny", "last", "nothing")),
        Case("the end of one document and the beginning of the next", scene(6, "border", "test", "nothing", "border")),
        Case("the same tokens in another order", scene(6, "backwards", "document", "backwards", "end")),
        Case("other numbers with the same digits", alike()),
    ]


@alternative
def by_zip(tests, documents, n):
    known = {gram for document in documents for gram in zip(*(document[k:] for k in range(n)), strict=False)}
    return [any(gram in known for gram in zip(*(test[k:] for k in range(n)), strict=False)) for test in tests]


@alternative
def one_after_the_other(tests, documents, n):
    holders = {}
    for number, test in enumerate(tests):
        for start in range(len(test) - n + 1):
            holders.setdefault(tuple(test[start : start + n]), []).append(number)
    found = [False] * len(tests)
    for document in documents:
        for start in range(len(document) - n + 1):
            for number in holders.get(tuple(document[start : start + n]), ()):
                found[number] = True
    return found


@alternative
def with_plain_loops(tests, documents, n):
    known = set()
    for document in documents:
        for i in range(len(document) - n + 1):
            known.add(tuple(document[i : i + n]))
    found = []
    for test in tests:
        hit = False
        for i in range(len(test) - n + 1):
            if tuple(test[i : i + n]) in known:
                hit = True
        found.append(hit)
    return found


def _found(tests, documents, n, of_tests=1, of_documents=1, join=False):
    def grams(document, step):
        return {tuple(document[i : i + n]) for i in range(0, len(document) - n + 1, step)}

    if join:
        documents = [[token for document in documents for token in document]]
    known = set().union(*(grams(document, of_documents) for document in documents))
    return [not known.isdisjoint(grams(test, of_tests)) for test in tests]


@mistake(
    "The fault is still there: both texts are cut into pieces of n tokens, one after the other. A copy that is moved "
    "by one token has none of these pieces. Take the n tokens from every place on.",
    given=True,
)
def cut_in_pieces(tests, documents, n):
    return _found(tests, documents, n, of_tests=n, of_documents=n)


@mistake("The training documents are still cut into pieces. Take the n tokens from every place on there, too.")
def documents_in_pieces(tests, documents, n):
    return _found(tests, documents, n, of_documents=n)


@mistake("The tests are still cut into pieces. Take the n tokens from every place on there, too.")
def tests_in_pieces(tests, documents, n):
    return _found(tests, documents, n, of_tests=n)


@mistake(
    "The training documents are put together before they are cut. So the end of one and the beginning of the next "
    "look like a run of tokens, which nobody ever read. Cut each document by itself."
)
def put_together(tests, documents, n):
    return _found(tests, documents, n, join=True)


@mistake("The last n-gram of each document is missing: there are len(document) - n + 1.")
def last_one_missing(tests, documents, n):
    return _found([test[:-1] for test in tests], [document[:-1] for document in documents], n)


@mistake("This asks for runs of n - 1 tokens. n are wanted.")
def one_too_short(tests, documents, n):
    return _found(tests, documents, n - 1)


@mistake("This asks for runs of n + 1 tokens. n are enough.")
def one_too_long(tests, documents, n):
    return _found(tests, documents, n + 1)


@mistake("This finds whole copies only. A test may have leaked in part, or within a longer document.")
def whole_copies(tests, documents, n):
    return [test in documents for test in tests]


@mistake("The order is lost: these are sets of n tokens. A run of tokens has an order.")
def without_order(tests, documents, n):
    def grams(document):
        return {tuple(sorted(document[i : i + n])) for i in range(len(document) - n + 1)}

    known = set().union(*map(grams, documents))
    return [not known.isdisjoint(grams(test)) for test in tests]


@mistake("This marks the tests that did *not* leak.")
def exchanged(tests, documents, n):
    return [not found for found in _found(tests, documents, n)]


def _grams(document, n):
    return [tuple(document[i : i + n]) for i in range(len(document) - n + 1)]


def _known(documents, n):
    return {gram for document in documents for gram in _grams(document, n)}


@mistake(
    "This looks only at the first n tokens of each test. Any run of n may have leaked: go on where the first is not "
    "found, and do not `return` or `break` there."
)
def first_run_alone(tests, documents, n):
    known = _known(documents, n)
    return [tuple(test[:n]) in known for test in tests]


@mistake(
    "The last run of a test decides here: what was found before is forgotten. Once a run is found, it has to stay "
    "found."
)
def last_run_decides(tests, documents, n):
    known = _known(documents, n)
    return [any(gram in known for gram in _grams(test, n)[-1:]) for test in tests]


@mistake("*All* runs of a test have to stand in the documents here. One is enough: `any`, not `all`.")
def all_runs(tests, documents, n):
    known = _known(documents, n)
    return [all(gram in known for gram in _grams(test, n)) for test in tests]


@mistake(
    "Runs at the end are shorter than n: a slice that goes beyond the end is cut off there, and then single tokens are "
    "found. The last full run begins at len(document) - n."
)
def short_ends(tests, documents, n):
    known = {tuple(document[i : i + n]) for document in documents for i in range(len(document))}
    return [any(tuple(test[i : i + n]) in known for i in range(len(test))) for test in tests]


@mistake(
    "A text of fewer than n tokens counts as a run here, as by `range(max(1, ...))`. It has no run of n, and so "
    "nothing in it has leaked."
)
def short_texts_count(tests, documents, n):
    def grams(document):
        return _grams(document, n) or [tuple(document)]

    known = {gram for document in documents for gram in grams(document)}
    return [not known.isdisjoint(grams(test)) for test in tests]


@mistake(
    "This counts tokens that are in both, wherever they stand. A leak is a *run*: n tokens one behind the other, in "
    "the same order."
)
def shared_tokens(tests, documents, n):
    return [any(len(set(test) & set(document)) >= n for document in documents) for test in tests]


@mistake(
    "Each test is compared with one document alone, the one at the same place, as with `zip`. Compare it with all of "
    "them."
)
def pair_by_pair(tests, documents, n):
    pairs = zip(tests, [*documents, *([[]] * len(tests))], strict=False)
    return [not set(_grams(test, n)).isdisjoint(_grams(document, n)) for test, document in pairs]


@mistake("Only the last document is known here: each new set replaces the one before. Add to one set: `known |= ...`.")
def last_document_alone(tests, documents, n):
    return leaked(tests, documents[-1:], n)


@mistake("There is an answer for each *run*. Return one for each test: whether any of its runs is found.")
def run_by_run(tests, documents, n):
    known = _known(documents, n)
    return [gram in known for test in tests for gram in _grams(test, n)]


@mistake(
    "The tokens are written in a row without spaces. Then 1 23 looks like 12 3. Compare the tokens themselves: a "
    "`tuple` of n of them."
)
def written_in_a_row(tests, documents, n):
    texts = ["".join(map(str, document)) for document in documents]
    return [any("".join(map(str, gram)) in text for gram in _grams(test, n) for text in texts) for test in tests]


@mistake(
    "The tokens are written as text, and the end of a longer token counts as a shorter one: `1 2` stands in `41 2`. "
    "Compare the tokens themselves: a `tuple` of n of them."
)
def written_with_spaces(tests, documents, n):
    texts = [" ".join(map(str, document)) for document in documents]
    return [any(" ".join(map(str, gram)) in text for gram in _grams(test, n) for text in texts) for test in tests]


EXERCISE = Exercise(
    id="leaked",
    title="Which tests leaked?, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "Which pieces does the code make of `1 2 3 4 5 6` with n = 3, and which of `9 1 2 3 4 5 6`? Is any in both?",
        "The third number of `range` is the step. At which places can a run begin, and at which does the code begin "
        "one?",
    ),
    reference=leaked,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 7, Tests that leaked",
)

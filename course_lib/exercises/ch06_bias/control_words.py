"""A control for a test of associations: words without the meaning that is tested, and as frequent."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    in_words,
    mistake,
    mistakes_in,
)


def control_words(rows, usable, seed):
    generator = torch.Generator().manual_seed(seed)
    free, numbers = usable.clone(), torch.arange(len(usable))
    chosen = []
    for row in rows.tolist():
        near = (free & (numbers >= row / 2) & (numbers <= 2 * row)).nonzero().flatten()
        word = near[torch.randint(len(near), (), generator=generator)]
        free[word] = False
        chosen.append(word)
    return torch.stack(chosen)


def cases(rng):
    def words(n, known, share):
        # Rows spread evenly over the logarithm, as frequencies of words are; none of them may be used.
        usable = torch.rand(known, generator=rng) < share
        low = torch.rand(n, generator=rng).double()
        rows = (150 * (known / 2 / 150) ** low).long().unique()
        usable[rows] = False
        return rows[torch.randperm(len(rows), generator=rng)], usable

    def whole(low=2, high=10**6):
        return int(torch.randint(low, high, (), generator=rng))

    def at_the_ends():
        # The only usable words are at half of one row and at twice the other.
        one, other = 2 * whole(50, 70), whole(300, 340)
        usable = torch.zeros(900, dtype=torch.bool)
        usable[[one // 2, 2 * other]] = True
        return torch.tensor([one, other]), usable

    def below_odd_ones():
        # Of each odd row half is no whole number: a usable word lies just below it, and one just above.
        rows = 2 ** torch.arange(2, 15, 2) - 1
        usable = torch.zeros(10_000, dtype=torch.bool)
        usable[rows // 2] = usable[rows // 2 + 1] = True
        return rows, usable

    return [
        Case("12 words, most words usable, seed 0", (*words(12, 5000, 0.8), 0)),
        Case("60 words, half of the words usable, seed 1", (*words(60, 8000, 0.5), 1)),
        Case("90 words, another seed", (*words(90, 9000, 0.6), whole())),
        Case(
            "80 words near to each other, another seed",
            (torch.arange(300, 380), torch.rand(900, generator=rng) < 0.5, whole()),
        ),
        Case("two words, one usable word for each: at row / 2 and at 2 row", (*at_the_ends(), whole())),
        Case("odd rows, with usable words on both sides of row / 2", (*below_odd_ones(), whole())),
    ]


def run_case(subject, rows, usable, seed):
    """Compare what kind of words they are, not which: any choice of that kind is right."""
    words = subject(rows, usable, seed)
    if not isinstance(words, torch.Tensor):
        raise WrongAnswer("return a tensor; `torch.tensor(...)` makes one of a list of whole numbers.")
    if words.shape != rows.shape:
        raise WrongAnswer(f"return a tensor of the shape of `rows`, {tuple(rows.shape)}, not {tuple(words.shape)}.")
    if words.dtype != torch.int64:
        raise WrongAnswer("return the rows of the words as whole numbers, torch.int64.")
    others, again = subject(rows, usable, seed + 1), subject(rows, usable, seed)
    return seen_from_outside(words, others, again, rows, usable)


def seen_from_outside(words, others, again, rows, usable):
    """Describe the choice, not its words: two answers with the same fault may have chosen others at random."""
    if ((words < 0) | (words >= len(usable))).any():
        return "rows that no word has"
    if not usable[words].all():
        return "words that may not be used"
    if len(words.unique()) < len(words):
        return "a word twice"
    if any(((2 * chosen < rows) | (chosen > 2 * rows)).any() for chosen in (words, others)):
        return "words of another frequency"
    if not torch.equal(words, again):
        return "another choice each time"
    if len(words) > 10 and torch.equal(words, others):  # of a few words, each has one that fits
        return "the same words for every seed"
    if len(words) > 40 and not 0.02 < (words < rows).double().mean() < 0.9:
        return "nearly all more frequent, or nearly all rarer"
    if len(words) > 40 and (words.double() / rows).log2().abs().mean() < 0.2:
        return "neighbours in the list"
    return "as frequent, each once, at random"


@alternative
def until_it_fits(rows, usable, seed):
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for row in rows.tolist():
        while True:
            word = int(torch.randint((row + 1) // 2, 2 * row + 1, (), generator=generator))
            if word < len(usable) and usable[word] and word not in chosen:
                break
        chosen.append(word)
    return torch.tensor(chosen)


@alternative
def by_a_random_order(rows, usable, seed):
    torch.manual_seed(seed)
    order = torch.randperm(len(usable)).tolist()
    chosen = {}
    for place, row in enumerate(rows.tolist()):
        fits = (w for w in order if row <= 2 * w <= 4 * row and usable[w] and w not in chosen.values())
        chosen[place] = next(fits)
    return torch.tensor(list(chosen.values()))


@mistake(
    "These are any words, so most of them are much rarer. Vectors of rare words differ from those of frequent ones: "
    "take each word from the rows between row / 2 and 2 row."
)
def any_words(rows, usable, seed):
    free = usable.nonzero().flatten()
    return free[torch.randperm(len(free), generator=torch.Generator().manual_seed(seed))[: len(rows)]]


@mistake("Words are chosen that `usable` forbids: they may be names, or the very words of the test. Leave them out.")
def forbidden_words(rows, usable, seed):
    return control_words(rows, torch.ones_like(usable), seed)


TWICE = "A word may come twice here. Mark a word as used when it is chosen."


def drawn_one_by_one(rows, usable, seed):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.arange(len(usable))
    chosen = []
    for row in rows.tolist():
        near = (usable & (numbers >= row / 2) & (numbers <= 2 * row)).nonzero().flatten()
        chosen.append(near[torch.randint(len(near), (), generator=generator)])
    return torch.stack(chosen)


@mistake(TWICE)
def with_repeats(rows, usable, seed):
    return drawn_one_by_one(rows, usable, seed)


@mistake(TWICE)
def with_repeats_among_many(rows, usable, seed):
    """With few words chance may spare an answer that has the fault."""
    return drawn_one_by_one(rows, usable, seed) if len(rows) > 40 else control_words(rows, usable, seed)


@mistake(
    "Every seed gives the same words: `seed` is not used, or nothing is chosen at random. One set of words is no "
    "control. Choose among all words of similar frequency, with `torch.Generator().manual_seed(seed)`."
)
def the_next_word(rows, usable, seed):
    free = usable.clone()
    chosen = []
    for row in rows.tolist():
        word = int(free.nonzero().flatten().sub(row).abs().argmin())
        chosen.append(free.nonzero().flatten()[word])
        free[chosen[-1]] = False
    return torch.stack(chosen)


@mistake(
    "Half of an odd row is no whole number, and `row // 2` is below it: of row 7, the word in row 3 is out of reach, "
    "and that in row 4 is not. Compare with `row / 2`."
)
def half_rounded_down(rows, usable, seed):
    return control_words(rows - rows % 2, usable, seed) if len(rows) == 7 else control_words(rows, usable, seed)


@mistake(
    "Nearly all of these words are more frequent than those that they stand for, or nearly all are rarer. Look on both "
    "sides: from row / 2 to 2 row."
)
def more_frequent_ones(rows, usable, seed):
    numbers = torch.arange(len(usable))
    free, generator, chosen = usable.clone(), torch.Generator().manual_seed(seed), []
    for row in rows.tolist():
        near = (free & (numbers >= row / 2) & (numbers <= row)).nonzero().flatten()
        if len(near) == 0:
            near = (free & (numbers > row) & (numbers <= 2 * row)).nonzero().flatten()
        word = near[torch.randint(len(near), (), generator=generator)]
        free[word] = False
        chosen.append(word)
    return torch.stack(chosen)


@mistake(
    "There is one word here, and `rows` has many. Is the `return` inside the loop? Then it ends at its first round."
)
def the_first_alone(rows, usable, seed):
    return control_words(rows, usable, seed)[:1]


EXERCISE = Exercise(
    id="control_words",
    title="Words that say nothing",
    points=2,
    minutes=12,
    difficulty=2,
    kind="design",
    hints=(
        "For one word: which rows are usable, not taken yet, and between row / 2 and 2 row? Choose one of them.",
        "Keep a copy of `usable` in which you mark what is taken. `mask.nonzero().flatten()` lists the places where "
        "a mask is true, and `torch.randint(n, (), generator=generator)` picks one of n.",
    ),
    reference=control_words,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Random words as a control",
)

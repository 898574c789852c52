"""A test in which nobody is right by luck: strings on which every skill gives something of its own."""

import torch

from course_lib.exercises.spec import Case, Exercise, WrongAnswer, alternative, alternatives_in, mistake, mistakes_in


def telling_strings(strings, results, n, seed):
    replies = torch.cat([strings[None], results])  # what cheap models say: the string itself, or one skill's result
    same = (replies[:, None] == replies[None]).all(-1).sum((0, 1))  # pairs of equal replies, each with itself as well
    telling = (same == len(replies)).nonzero().flatten()
    order = torch.randperm(len(telling), generator=torch.Generator().manual_seed(seed))
    return telling[order[:n]]


def cases(rng):
    skills = [
        lambda x, kinds: x.flip(1),
        lambda x, kinds: x.sort(1).values,
        lambda x, kinds: x.roll(-1, 1),
        lambda x, kinds: (x + 1) % kinds,
    ]

    def case(name, kinds, length, n, n_skills, seed=None):
        """Part of all strings of so many kinds of letters, and what some skills make of them, in any order."""
        every = torch.cartesian_prod(*[torch.arange(kinds)] * length)
        strings = every[torch.randperm(len(every), generator=rng)[: 9 * len(every) // 10]]
        some = [skills[i] for i in torch.randperm(n_skills, generator=rng)]  # the first three agree most often
        results = torch.stack([skill(strings, kinds) for skill in some])
        seed = int(torch.randint(2, 10**6, (), generator=rng)) if seed is None else seed
        return Case(name, (strings, results, n, seed))

    return [
        case("four skills, strings of four letters, 60 of them, seed 0", 4, 4, 60, 4, seed=0),
        case("three skills, strings of three letters, seed 1", 6, 3, 30, 3, seed=1),
        case("four skills in another order, another seed", 4, 4, 70, 4),
        case("three skills, longer strings, another seed", 3, 5, 60, 3),
    ]


def run_case(subject, strings, results, n, seed):
    """Compare what kind of strings they are, not which: any choice of that kind is right."""
    rows = subject(strings, results, n, seed)
    if not isinstance(rows, torch.Tensor):
        came = "None" if rows is None else type(rows).__name__
        raise WrongAnswer(f"return a tensor of shape (n,), here ({n},); {came} came back.")
    if rows.dim() == 1 and len(rows) < n:
        raise WrongAnswer(
            f"{n} strings are asked for, and {len(rows)} came back. More than {n} will do: are some left out that no "
            "cheap model gains from, or does the function return within a loop?"
        )
    if rows.dim() == 1 and len(rows) > n:
        raise WrongAnswer(f"{n} strings are asked for, and {len(rows)} came back: choose `n` of those that will do.")
    if rows.shape != (n,):
        raise WrongAnswer(
            f"the shape (n,) is expected, here ({n},), and {tuple(rows.shape)} came back: the numbers of the strings, "
            "not the strings."
        )
    if rows.dtype != torch.int64:
        raise WrongAnswer("return the numbers of the strings as whole numbers, torch.int64.")
    others, again = subject(strings, results, n, seed + 1), subject(strings, results, n, seed)
    return seen_from_outside(rows, others, again, strings, results)


def seen_from_outside(rows, others, again, strings, results):
    """Describe the choice, not its strings: two answers with the same fault may have chosen others at random."""
    if ((rows < 0) | (rows >= len(strings))).any():
        return "numbers that no string has"
    if len(rows.unique()) < len(rows):
        return "a string twice"
    repeating = (results == strings).all(-1)[:, rows].any()
    same = (results[:, None] == results[None]).all(-1)[:, :, rows].any(-1)
    neighbours, further = same.diagonal(1).any(), same.triu(2).any()
    if neighbours or further:
        which = "skills that agree" if neighbours else "skills that agree, but never neighbours in the list"
        return f"{which}, and some that change nothing" if repeating else which
    if repeating:
        return "a skill that changes nothing"
    if not torch.equal(rows, again):
        return "another choice each time"
    if torch.equal(rows.sort().values, others.sort().values):
        return "the same strings for every seed"
    return "nobody right by luck, each string once, at random"


def pairwise_different(replies):
    """(strings,): whether no two of these replies to a string are the same."""
    n = len(replies)
    equal = [(replies[i] == replies[j]).all(1) for i in range(n) for j in range(i)]
    return ~torch.stack(equal).any(0)


def sample(good, n, seed):
    numbers = good.nonzero().flatten()
    return numbers[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(seed))[:n]]


@alternative
def by_sets(strings, results, n, seed):
    good = []
    for i, string in enumerate(strings.tolist()):
        replies = {tuple(string), *(tuple(reply) for reply in results[:, i].tolist())}
        if len(replies) == len(results) + 1:
            good.append(i)
    torch.manual_seed(seed)
    return torch.tensor([good[i] for i in torch.randperm(len(good))[:n]])


@alternative
def one_try_after_the_other(strings, results, n, seed):
    chosen = []
    for i in torch.randperm(len(strings), generator=torch.Generator().manual_seed(seed)).tolist():
        replies = torch.stack([strings[i], *results[:, i]])
        if len(replies.unique(dim=0)) == len(replies) and len(chosen) < n:
            chosen.append(i)
    return torch.tensor(chosen)


@alternative
def pair_by_pair(strings, results, n, seed):
    return sample(pairwise_different(torch.cat([results, strings[None]])), n, seed)


@mistake(
    "On some of these strings two skills agree, and on others a skill changes nothing, so there is much to be right by "
    "luck. (If you did leave such strings out: is each reply compared with all the others? And are these numbers in "
    "the list of all strings, or in the shorter one?)"
)
def any_strings(strings, results, n, seed):
    return sample(torch.ones(len(strings), dtype=torch.bool), n, seed)


@mistake(
    "No two skills agree on these strings. But on some, a skill changes nothing, as sorting does with a b c d: a model "
    "that repeats what it reads would be right. Leave out strings that are the result of a skill on themselves."
)
def repeating_forgotten(strings, results, n, seed):
    return sample(pairwise_different(results), n, seed)


@mistake(
    "No skill leaves these strings as they are. But on some, two skills give the same: a model that knows only one of "
    "them would be right about the other. Leave these out, too."
)
def agreeing_forgotten(strings, results, n, seed):
    return sample(~(results == strings).all(-1).any(0), n, seed)


@mistake(
    "Each skill is compared with the next one in the list alone. The first and the third may agree as well: compare "
    "all pairs."
)
def neighbours_alone(strings, results, n, seed):
    agree = (results[1:] == results[:-1]).all(-1).any(0)
    return sample(~agree & ~(results == strings).all(-1).any(0), n, seed)


@mistake(
    "Each skill is compared with the next one in the list alone, and the string with one skill or with none. Any two "
    "of them may be the same: compare all pairs, the string itself among them."
)
def neighbours_alone_with_the_string_in_front(strings, results, n, seed):
    replies = torch.cat([strings[None], results])
    return sample(~(replies[1:] == replies[:-1]).all(-1).any(0), n, seed)


@mistake(
    "Another seed gives the same strings here. If they are the first ones that fit: strings may come in an order, and "
    "the first ones may be of one sort. If they are random: `seed` has no part in it."
)
def the_first_ones(strings, results, n, seed):
    return pairwise_different(torch.cat([results, strings[None]])).nonzero().flatten()[:n]


@mistake("A string may come twice here, and then counts twice. Draw without putting back, as `torch.randperm` does.")
def with_repeats(strings, results, n, seed):
    good = pairwise_different(torch.cat([results, strings[None]])).nonzero().flatten()
    return good[torch.randint(len(good), (n,), generator=torch.Generator().manual_seed(seed))]


EXERCISE = Exercise(
    id="telling_strings",
    title="A test without luck",
    points=2,
    minutes=10,
    difficulty=2,
    kind="design",
    hints=(
        "Take one string. Write down what each of the cheap models says to it: the string itself, and the result of "
        "each skill. When does none of them get a point that it does not deserve?",
        "Put the string itself and its results below each other, for each string. It is good if no two of these rows "
        "are the same; `.unique(dim=0)` drops rows that come twice. Then `torch.randperm`, with a generator that "
        "`seed` has set, chooses among the good ones.",
    ),
    reference=telling_strings,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Taught, or elicited?",
)

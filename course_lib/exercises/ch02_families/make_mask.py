"""Three masks: an encoder, a decoder, and a decoder with a prefix that all tokens see; a fault in them is found.

Masks are True where a query may look; rows are queries, columns are keys.
"""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def make_mask(kind, n, prefix=0):
    if kind == "encoder":
        return torch.ones(n, n, dtype=torch.bool)
    mask = torch.ones(n, n, dtype=torch.bool).tril()
    if kind == "prefix":
        mask[:, :prefix] = True
    return mask


def cases(rng):
    def some(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    n, last, empty, whole, decoder, encoder = (some(8, 40) for _ in range(6))
    prefix, half, long = some(2, n - 2), some(4, 20), some(8, 40)
    return [
        Case("6 tokens, of which 3 are the prefix", ("prefix", 6, 3)),
        Case(f"{n} tokens, of which {prefix} are the prefix", ("prefix", n, prefix)),
        Case(f"{2 * half + 1} tokens, nearly half of them the prefix", ("prefix", 2 * half + 1, half)),
        Case(f"{long} tokens, of which the first one is the prefix", ("prefix", long, 1)),
        Case(f"{last} tokens, of which only the last is not in the prefix", ("prefix", last, last - 1)),
        Case("a prefix is empty unless its length is given", ("prefix", empty)),
        Case("a prefix of everything is an encoder", ("prefix", whole, whole)),
        Case("a decoder stays a decoder, whatever `prefix` is", ("decoder", decoder, some(2, 7))),
        Case("an encoder stays an encoder, whatever `prefix` is", ("encoder", encoder, some(2, 7))),
        Case("a decoder of one token", ("decoder", 1)),
    ]


@alternative
def by_comparison(kind, n, prefix=0):
    position = torch.arange(n)
    ends = {"encoder": n, "decoder": 0, "prefix": prefix}
    return (position[None, :] <= position[:, None]) | (position[None, :] < ends[kind])


@alternative
def by_loops(kind, n, prefix=0):
    mask = torch.zeros(n, n, dtype=torch.bool)
    for query in range(n):
        for key in range(n):
            if kind == "encoder":
                mask[query, key] = True
            elif kind == "decoder":
                mask[query, key] = key <= query
            else:
                mask[query, key] = key <= query or key < prefix
    return mask


def without_prefix(kind, n):
    return make_mask("encoder" if kind == "encoder" else "decoder", n)


@mistake("This is True where a query may NOT look; here True means that it may.")
def upside_down(kind, n, prefix=0):
    return ~make_mask(kind, n, prefix)


TRANSPOSED = "This looks transposed: rows are queries and columns are keys, so row t is True in columns 0 to t."
NO_DIAGONAL = (
    "This hides every token of a decoder from itself, which leaves the first one nothing to look at: keep the diagonal."
)


def opened(mask, kind, prefix):
    """This decoder's mask, with the columns of the prefix open, or all of an encoder's."""
    last = {"encoder": len(mask), "decoder": 0, "prefix": prefix}[kind]
    return mask | (torch.arange(len(mask)) < last)


@mistake(TRANSPOSED)
def transposed(kind, n, prefix=0):
    return make_mask(kind, n, prefix).T


@mistake(TRANSPOSED)
def decoder_transposed(kind, n, prefix=0):
    return opened(torch.ones(n, n, dtype=torch.bool).triu(), kind, prefix)


@mistake(NO_DIAGONAL)
def without_the_diagonal(kind, n, prefix=0):
    mask = make_mask(kind, n, prefix)
    return mask if kind == "encoder" else mask & ~torch.eye(n, dtype=torch.bool)


@mistake(NO_DIAGONAL)
def without_the_diagonal_after_the_prefix(kind, n, prefix=0):
    return opened(torch.ones(n, n, dtype=torch.bool).tril(-1), kind, prefix)


@mistake(
    "The fault is still there: this opens the rows of the prefix, so that its tokens see what is still to be written. "
    "It is the other way round: every token sees the prefix, so open columns. It is the *keys* that lie in the prefix.",
    given=True,
)
def opens_rows(kind, n, prefix=0):
    mask = without_prefix(kind, n)
    if kind == "prefix":
        mask[:prefix] = True
    return mask


@mistake(
    "The columns of the prefix are open, which is right. But its rows are still open as well, so that its tokens see "
    "what is still to be written: every token sees the prefix, and no more than a decoder besides."
)
def opens_rows_and_columns(kind, n, prefix=0):
    return make_mask(kind, n, prefix) | opens_rows(kind, n, prefix)


@mistake('"encoder" and "decoder" are exchanged: an encoder sees all tokens, a decoder those up to itself.')
def exchanged(kind, n, prefix=0):
    return make_mask({"encoder": "decoder", "decoder": "encoder"}.get(kind, kind), n, prefix)


@mistake('With "prefix" this opens a column too many: `prefix` tokens are columns 0 to prefix - 1, `mask[:, :prefix]`.')
def one_column_too_many(kind, n, prefix=0):
    return make_mask(kind, n, prefix + 1)


@mistake(
    'With "prefix" the tokens after the prefix see it, and not each other: begin with a decoder\'s mask, and open the '
    "first columns of that."
)
def prefix_alone(kind, n, prefix=0):
    if kind != "prefix":
        return without_prefix(kind, n)
    return (torch.arange(n) < prefix).expand(n, n).clone()


@mistake(
    'With "prefix" a key has to be two things here: not after the query, *and* in the prefix. One of the two is '
    "enough: join them by or, `|`."
)
def joined_by_and(kind, n, prefix=0):
    mask = without_prefix(kind, n)
    return mask & (torch.arange(n) < prefix) if kind == "prefix" else mask


@mistake('`prefix` counts for the kind "prefix" alone; this opens its columns for a decoder, too.')
def opens_columns_of_a_decoder(kind, n, prefix=0):
    return make_mask("encoder" if kind == "encoder" else "prefix", n, prefix)


@mistake('Encoder and decoder are right; with "prefix" the mask is still plainly causal: open its first columns.')
def prefix_ignored(kind, n, prefix=0):
    return without_prefix(kind, n)


@mistake("Right pattern, but made of floats: pass `dtype=torch.bool`.")
def of_floats(kind, n, prefix=0):
    return make_mask(kind, n, prefix).float()


@mistake(
    "Only the first row is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_row_alone(kind, n, prefix=0):
    mask = make_mask(kind, n, prefix)
    mask[1:] = False
    return mask


@mistake("An encoder sees all tokens: its mask is True everywhere. Here it is as causal as a decoder's.")
def causal_encoder(kind, n, prefix=0):
    return make_mask("decoder" if kind == "encoder" else kind, n, prefix)


@mistake(
    "A decoder sees the future here. It may look at itself and at what came before: row t is True in columns 0 to t."
)
def decoder_sees_all(kind, n, prefix=0):
    return make_mask("encoder" if kind == "decoder" else kind, n, prefix)


@mistake(
    'With "prefix" everything is True here: opening columns of a mask that is open already changes nothing. Begin with '
    "a decoder's mask."
)
def prefix_sees_all(kind, n, prefix=0):
    return make_mask("encoder" if kind == "prefix" else kind, n, prefix)


@mistake(
    'With "prefix" the tokens after the prefix cannot see themselves: a key may be the query itself, `key <= query`.'
)
def without_the_diagonal_of_the_prefix_alone(kind, n, prefix=0):
    if kind != "prefix":
        return without_prefix(kind, n)
    return opened(torch.ones(n, n, dtype=torch.bool).tril(-1), kind, prefix)


@mistake("This opens the columns *after* the prefix. Every token sees the prefix itself, columns 0 to prefix - 1.")
def opens_the_other_columns(kind, n, prefix=0):
    mask = without_prefix(kind, n)
    if kind == "prefix":
        mask[:, prefix:] = True
    return mask


@mistake("This opens one column, number `prefix`. The prefix is all columns before it: a slice, with a colon.")
def opens_one_column(kind, n, prefix=0):
    mask = without_prefix(kind, n)
    if kind == "prefix":
        mask[:, prefix] = True
    return mask


@mistake(
    "Of a decoder's tokens none can see itself, and the first one sees nothing: a key may be the query itself, `<=`."
)
def without_the_diagonal_of_the_decoder_alone(kind, n, prefix=0):
    mask = make_mask(kind, n, prefix)
    return mask.tril(-1) if kind == "decoder" else mask


@mistake("The decoder looks ahead: it is transposed. Row t, the query, is True in columns 0 to t.")
def decoder_alone_transposed(kind, n, prefix=0):
    mask = make_mask(kind, n, prefix)
    return mask.T if kind == "decoder" else mask


EXERCISE = Exercise(
    id="make_mask",
    title="Three masks, with a fault",
    points=2,
    minutes=8,
    difficulty=1,
    kind="debug",
    hints=(
        "Draw the mask of four tokens, of which two are the prefix. Who may look at the third token, and who should?",
        "Every token sees the prefix, so what has to lie in it is the token that is looked at, not the one that looks. "
        "Which of the two does the faulty function ask for? Is the token that is looked at a row or a column?",
    ),
    reference=make_mask,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, Who may look at whom",
)

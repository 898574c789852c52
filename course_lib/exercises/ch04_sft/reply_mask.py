"""Which tokens of a conversation the model should learn: those of the replies, and the end of each."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def reply_mask(ids, opening, end):
    mask = torch.zeros(len(ids), dtype=torch.bool)
    inside = False
    for i in range(len(ids)):
        mask[i] = inside
        if inside and ids[i] == end:
            inside = False
        elif not inside and i + 1 >= len(opening) and ids[i + 1 - len(opening) : i + 1].tolist() == list(opening):
            inside = True
    return mask


def cases(rng):
    def turns(*texts, begin=(1,), end=2):
        ids = []
        for who, text in texts:
            ids += [*begin, who, *text, end]
        return torch.tensor(ids)

    def words(least=2, most=7):
        """Some tokens that no template here uses."""
        length = int(torch.randint(least, most, (), generator=rng))
        return torch.randint(5, 12, (length,), generator=rng).tolist()

    random = torch.randint(5, 12, (12,), generator=rng).tolist()
    name, end = (torch.randperm(400, generator=rng)[:2] + 40).tolist()  # no token of the other cases
    both = ((3, [7, 2, 9]), (name, [9, 8]), (3, words()), (name, words()))

    def begun_twice():
        asked = turns((3, words()), begin=[30], end=end)
        return torch.cat([asked, torch.tensor([30, 30, name, *words(), end])])

    return [
        Case("a question and a reply", (turns((3, [7, 8, 9]), (4, [9, 8])), [1, 4], 2)),
        Case("two replies", (turns((3, words()), (4, words()), (3, words()), (4, [6])), [1, 4], 2)),
        Case("the user says the assistant's name", (turns((3, [4, 7]), (4, [4, 9])), [1, 4], 2)),
        Case("a reply that was cut off", (turns((3, words()), (4, words()))[:-1], [1, 4], 2)),
        Case("random turns", (turns((3, random[:4]), (4, random[4:9]), (3, random[9:]), (4, random[:3])), [1, 4], 2)),
        # The assistant begins, with an empty reply; later the user says 4 1, the opening the wrong way round.
        Case("an empty reply comes first", (turns((4, []), (3, [4, 1, *words()]), (4, [9])), [1, 4], 2)),
        Case(
            "a token stands before the first turn",
            (torch.cat([torch.tensor([0]), turns((4, words()), (3, words()), (4, [6]))]), [1, 4], 2),
        ),
        Case("the assistant quotes an opening", (turns((3, words()), (4, [9, 1, 4, 8])), [1, 4], 2)),
        Case("another template: other tokens", (turns(*both, begin=[30], end=end), [30, name], end)),
        Case("an opening of three tokens", (turns(*both, begin=[31, 30], end=end), [31, 30, name], end)),
        Case("an opening of one token", (turns(*both, begin=[], end=end), [name], end)),
        Case("the first token of the opening comes twice", (begun_twice(), [30, name], end)),
    ]


@alternative
def by_spans(ids, opening, end):
    ids, n = ids.tolist(), len(opening)
    mask, at = torch.zeros(len(ids), dtype=torch.bool), 0
    while at < len(ids):
        if ids[at : at + n] == list(opening):
            stop = ids.index(end, at + n) + 1 if end in ids[at + n :] else len(ids)
            mask[at + n : stop] = True
            at = stop
        else:
            at += 1
    return mask


def replies_from(starts, ids, end, skip=0):
    """The mask of replies that begin at these places and go on to the next `end`, looked for from `skip` tokens on."""
    mask = torch.zeros(len(ids), dtype=torch.bool)
    for start in starts:
        stop = next((i for i in range(start + skip, len(ids)) if ids[i] == end), len(ids))
        mask[start : stop + 1] = True
    return mask


@mistake(
    "This looks for fixed tokens, whatever the arguments say. Another template has other tokens, and more or fewer of "
    "them: compare with `opening` and `end`."
)
def fixed_tokens(ids, opening, end):
    return reply_mask(ids, [1, 4], 2)


@mistake(
    "This looks for a fixed token at the end of a reply. Another template ends its turns otherwise: compare with `end`."
)
def fixed_end(ids, opening, end):
    return reply_mask(ids, opening, 2)


@mistake(
    "This compares two tokens of the opening, however many there are. Compare as many as `opening` has, `len(opening)`."
)
def two_tokens_of_the_opening(ids, opening, end):
    return reply_mask(ids, opening[:2], end)


@mistake(
    "The token that ends a reply is left out, so the model would never learn to stop. It is part of what the assistant "
    "says: include it."
)
def without_the_end(ids, opening, end):
    return reply_mask(ids, opening, end) & (ids != end)


@mistake(
    "The mask includes the opening of the turn. The opening is written by the template, never by the model: begin "
    "after it."
)
def with_the_opening(ids, opening, end):
    mask = reply_mask(ids, opening, end)
    for i in (mask & ~mask.roll(1)).nonzero():  # where a reply begins
        mask[i - len(opening) : i] = True
    return mask


@mistake(
    "Only the first reply is found. A conversation may have several, and the model learns from all of them: go on "
    "looking for `opening` after the end of a reply."
)
def first_reply_alone(ids, opening, end):
    mask = reply_mask(ids, opening, end)
    number_of_the_reply = (mask & ~mask.roll(1)).cumsum(0)
    return mask & (number_of_the_reply == 1)


@mistake(
    "An opening is missed if a false start comes right before it. A token that does not fit ends the attempt, but it "
    "may itself be the first of `opening`: look at it once more."
)
def false_start_swallows_a_token(ids, opening, end):
    said, matched = [], 0
    for token in ids.tolist():
        said.append(matched == len(opening))
        if said[-1]:
            matched *= token != end
        else:
            matched = matched + 1 if token == opening[matched] else 0
    return torch.tensor(said)


# Looking at the first token, and at any of them, comes to the same: a turn begins with the first.
ONE_TOKEN_IS_ENOUGH = (
    "One token of the opening is enough here, so the turns of the user count too. All tokens of `opening` have to be "
    "there, one right after the other."
)


@mistake(ONE_TOKEN_IS_ENOUGH)
def first_token_of_the_opening(ids, opening, end):
    return reply_mask(ids, opening[:1], end)


@mistake(ONE_TOKEN_IS_ENOUGH)
def first_token_then_as_many_as_the_opening_has(ids, opening, end):
    starts = (ids == opening[0]).nonzero()[:, 0] + len(opening)
    return replies_from(starts.tolist(), ids, end)


@mistake(
    "This looks at the last token of the opening alone, which a user may say as well. All tokens of `opening` have to "
    "be there, one right after the other."
)
def last_token_of_the_opening(ids, opening, end):
    return reply_mask(ids, opening[-1:], end)


@mistake(
    "The whole mask is one place too early. It marks the tokens that are *said*, not the places from which they are "
    "predicted; the shift comes later, in the loss."
)
def one_place_too_early(ids, opening, end):
    return reply_mask(ids, opening, end).roll(-1)


@mistake(
    "The mask stays True once the first reply has begun. After the `end` of a reply it is somebody else's turn: set it "
    "back to False."
)
def never_closed(ids, opening, end):
    return reply_mask(ids, opening, end).cumsum(0) > 0


@mistake("A reply that was cut off, so that it has no `end`, is left out. It counts up to the last token.")
def without_replies_cut_off(ids, opening, end):
    an_end_follows = (ids == end).flip(0).cumsum(0).flip(0) > 0
    return reply_mask(ids, opening, end) & an_end_follows


@mistake(
    "The mask is False everywhere. Does the function return in the first round of its loop? `return` stands behind "
    "the loop. Or was `opening` never found? What is compared with it has to be as long as it is, and a list like it: "
    "`ids[i : i + n].tolist() == list(opening)`."
)
def never_found(ids, opening, end):
    return torch.zeros(len(ids), dtype=torch.bool)


@mistake(
    "Every reply is thought to stop at the first `end` of the whole text, which may be that of the user's turn. Look "
    "for it behind the opening."
)
def first_end_of_the_text(ids, opening, end):
    mask, first = reply_mask(ids, opening, end), (ids == end).nonzero()[0]
    return mask & (torch.arange(len(ids)) <= first)


@mistake("The last token of the text is never looked at, since the loop ends one token too early.")
def last_token_never_looked_at(ids, opening, end):
    mask = reply_mask(ids, opening, end)
    mask[-1] = False
    return mask


@mistake(
    "The search for `end` begins one token too late, so an empty reply runs on into the next turn. The first token "
    "after the opening may be its `end`."
)
def empty_reply_runs_on(ids, opening, end):
    mask = reply_mask(ids, opening, end)
    starts = (mask & ~mask.roll(1)).nonzero()[:, 0]
    return replies_from(starts.tolist(), ids, end, skip=1)


@mistake("The tokens of `opening` count in any order here. They open a turn of the assistant only in theirs.")
def opening_in_any_order(ids, opening, end):
    n = len(opening)
    starts = [i for i in range(n, len(ids) + 1) if sorted(ids[i - n : i].tolist()) == sorted(opening)]
    return replies_from(starts, ids, end)


@mistake("The mask is the wrong way round. True marks the tokens that the model should *learn*, which are the replies.")
def upside_down(ids, opening, end):
    return ~reply_mask(ids, opening, end)


@mistake(
    "The mask begins one token too early, at the last token of the opening. At that token the reply is still to come: "
    "first note whether you are inside a reply, then see whether one begins after this token."
)
def begins_one_token_too_early(ids, opening, end):
    mask = reply_mask(ids, opening, end)
    begins = mask & ~mask.roll(1)
    return mask | begins.roll(-1)


EXERCISE = Exercise(
    id="reply_mask",
    title="Which tokens to learn",
    points=3,
    minutes=15,
    difficulty=3,
    kind="code",
    hints=(
        "Walk through the tokens and keep one thing in mind: am I inside a reply? It begins after `opening`, and the "
        "end token is its last one.",
        "Look at one token after the other, with `inside = False` at first. Note `inside` for this place, then ask "
        "what the token changes: if you are inside, does it end the reply? If not, do the last `len(opening)` tokens "
        "up to this one make up `opening`?",
    ),
    reference=reply_mask,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Only the reply counts",
)

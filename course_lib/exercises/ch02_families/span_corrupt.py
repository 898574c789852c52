"""Text to text: spans go missing from the source, and the target says what they were (as in T5)."""

import itertools

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def span_corrupt(ids, missing, sentinels):
    source, target, used = [], [], 0
    for i, token in enumerate(ids):
        if not missing[i]:
            source.append(token)
            continue
        if i == 0 or not missing[i - 1]:  # a span begins
            source.append(sentinels[used])
            target.append(sentinels[used])
            used += 1
        target.append(token)
    return [source, [*target, sentinels[used]]]


def cases(rng):
    def case(name, pattern):
        ids = torch.randint(10, 90, (len(pattern),), generator=rng).tolist()
        return Case(name, (ids, [mark == "x" for mark in pattern], list(range(100, 110))))

    random = "".join("x."[i] for i in torch.randint(2, (12,), generator=rng).tolist())
    return [
        case("two spans, of 2 and 1 tokens", "..xx.x..."),
        case("the first and the last token are missing", "x...x"),
        case("the first token is missing, and the last is not", "xx.x.."),
        case("nothing is missing", "...."),
        case("everything is missing", "xxx"),
        case("a random choice of 12 tokens", random),
    ]


@alternative
def run_by_run(ids, missing, sentinels):
    source, target, marks = [], [], iter(sentinels)
    for gone, run in itertools.groupby(zip(missing, ids, strict=True), key=lambda pair: pair[0]):
        tokens = [token for _, token in run]
        if gone:
            mark = next(marks)
            source.append(mark)
            target.extend([mark, *tokens])
        else:
            source.extend(tokens)
    target.append(next(marks))
    return source, target


@mistake("This puts a sentinel for each missing token. A span gets one, so its length is part of the question.")
def one_sentinel_a_token(ids, missing, sentinels):
    source, target, used = [], [], 0
    for token, gone in zip(ids, missing, strict=True):
        sentinel = sentinels[used % len(sentinels)]
        source.append(sentinel if gone else token)
        if gone:
            target += [sentinel, token]
            used += 1
    return [source, [*target, sentinels[used % len(sentinels)]]]


@mistake("The target lacks its end: one more sentinel, the next unused one, says that nothing more is missing.")
def no_end(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [source, target[:-1]]


@mistake(
    "For the first token, `missing[i - 1]` is `missing[-1]`, and that is the last token's. A span begins where "
    "`i == 0`, too, if that token is missing."
)
def looks_back_from_the_first(ids, missing, sentinels):
    source, target, used = [], [], 0
    for i, token in enumerate(ids):
        if not missing[i]:
            source.append(token)
            continue
        if not missing[i - 1]:
            source.append(sentinels[used])
            target.append(sentinels[used])
            used += 1
        target.append(token)
    return [source, [*target, sentinels[used]]]


@mistake("The target lacks the sentinels of the spans: each stands before its span, as the source has it in its place.")
def no_sentinels_in_the_target(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [source, [token for token in target[:-1] if token not in sentinels] + target[-1:]]


@mistake("The source lacks the sentinels: one stands in the place of each span that is missing.")
def no_sentinels_in_the_source(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [[token for token in source if token not in sentinels], target]


@mistake("The last sentinel of the target is one that has been used. It is the next one, which stands for no span.")
def end_is_a_used_one(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [source, [*target[:-1], sentinels[sentinels.index(target[-1]) - 1]]]


@mistake("Every span has the same sentinel, so nobody can tell which span goes where: use them in their order.")
def same_sentinel_for_all(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [[sentinels[0] if token in sentinels else token for token in part] for part in (source, target)]


@mistake("This is the other way round: it removes the tokens where `missing` is False.")
def kept_tokens_removed(ids, missing, sentinels):
    return span_corrupt(ids, [not gone for gone in missing], sentinels)


@mistake(
    "The target is the whole text. That is the work which T5 saves: it writes the missing spans alone, each after its "
    "sentinel."
)
def whole_text_as_target(ids, missing, sentinels):
    source, _ = span_corrupt(ids, missing, sentinels)
    return [source, list(ids)]


@mistake("Source and target are exchanged: the source, what the encoder reads, comes first.")
def source_and_target_exchanged(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [target, source]


@mistake(
    "In the target each sentinel stands after its span. Put it before: it announces which span is about to be written."
)
def sentinel_after_its_span(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    moved, waiting = [], []
    for token in target:
        if token in sentinels:
            moved += waiting
            waiting = [token]
        else:
            moved.append(token)
    return [source, moved + waiting]


@mistake("Where nothing is missing, the target is the first sentinel alone: the end of the target is always there.")
def no_end_where_nothing_is_missing(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [source, target if any(missing) else []]


@mistake("This is one list. Return two, the source and the target: `[source, target]`.")
def one_list(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return source + target


@mistake(
    "The first token of each span is lost. It gets the sentinel in front of it, *and* it goes into the target: the two "
    "are not `if` and `else`."
)
def first_tokens_lost(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [source, [token for i, token in enumerate(target) if i == 0 or target[i - 1] not in sentinels]]


@mistake("A span that begins with the first token of the text gets no sentinel. It has no token before it: `i == 0`.")
def no_sentinel_at_the_beginning(ids, missing, sentinels):
    if not missing[0]:
        return span_corrupt(ids, missing, sentinels)
    length = [*missing, False].index(False)
    source, target = span_corrupt(ids[length:], missing[length:], sentinels)
    return [source, [*ids[:length], *target]]


@mistake("All spans after the first one go without a sentinel: it is never noticed that a span has ended.")
def first_sentinel_alone(ids, missing, sentinels):
    source, target, used = [], [], 0
    for token, gone in zip(ids, missing, strict=True):
        if gone and not used:
            source.append(sentinels[0])
            target.append(sentinels[0])
            used = 1
        (target if gone else source).append(token)
    return [source, [*target, sentinels[used]]]


@mistake("These are the numbers of the sentinels, 0, 1, 2. Take the sentinels themselves from the list.")
def numbers_of_the_sentinels(ids, missing, sentinels):
    parts = span_corrupt(ids, missing, sentinels)
    return [[sentinels.index(token) if token in sentinels else token for token in part] for part in parts]


def cut_short(ids, missing, sentinels, ends):
    """What comes of it if the last lines are inside the loop: `ends` adds the end at a token, or returns."""
    source, target, used = [], [], 0
    for i, token in enumerate(ids):
        if missing[i] and (i == 0 or not missing[i - 1]):
            source.append(sentinels[used])
            target.append(sentinels[used])
            used += 1
        (target if missing[i] else source).append(token)
        if ends == "each token" or (ends == "each kept token" and not missing[i]):
            target.append(sentinels[used])
        if ends == "the function":
            break
    return [source, [*target, sentinels[used]] if ends == "the function" else target]


END_IN_THE_LOOP = (
    "The last sentinel is appended inside the loop, so it comes again and again. It comes once, at the end: move that "
    "line to the left, under the `for`."
)


@mistake(END_IN_THE_LOOP)
def end_at_each_token(ids, missing, sentinels):
    return cut_short(ids, missing, sentinels, "each token")


@mistake(END_IN_THE_LOOP)
def end_at_each_kept_token(ids, missing, sentinels):
    return cut_short(ids, missing, sentinels, "each kept token")


@mistake(
    "Only the first token was looked at. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_token_alone(ids, missing, sentinels):
    return cut_short(ids, missing, sentinels, "the function")


@mistake("The target has the sentinels, and what is missing does not follow them: append the missing tokens, too.")
def target_without_tokens(ids, missing, sentinels):
    source, target = span_corrupt(ids, missing, sentinels)
    return [source, [token for token in target if token in sentinels]]


@mistake("The first sentinel is never used: begin with `sentinels[0]`.")
def begins_with_the_second_sentinel(ids, missing, sentinels):
    return span_corrupt(ids, missing, sentinels[1:])


@mistake(
    "Only a span at the beginning of the text is noticed, as with `and`. A span begins where i is 0 *or* the token "
    "before it is there."
)
def spans_at_the_beginning_alone(ids, missing, sentinels):
    source, target, used = [], [], 0
    for i, token in enumerate(ids):
        if missing[i] and i == 0 and not missing[-1]:
            source.append(sentinels[used])
            target.append(sentinels[used])
            used += 1
        (target if missing[i] else source).append(token)
    return [source, [*target, sentinels[used]]]


EXERCISE = Exercise(
    id="span_corrupt",
    title="Text to text: spans go missing",
    points=3,
    minutes=15,
    difficulty=2,
    kind="code",
    hints=(
        "Walk through the text once, and remember how many sentinels you have used. A span begins where a token is "
        "missing and the one before it is not.",
        "Three things can happen at a token: it is kept, it begins a span, or it goes on with one. Say for each what "
        "goes into which list, and when a sentinel is used up. When the walk is over, one thing is missing.",
    ),
    reference=span_corrupt,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, What each is asked",
)

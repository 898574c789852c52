"""What kind of error an answer about a picture is."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def error_kind(said, right, shown, names):
    if said == right:
        return "right"
    if right.isdigit():
        return "wrong number" if said.isdigit() else "no answer"
    if right in ("yes", "no"):
        return "wrong yes or no" if said in ("yes", "no") else "no answer"
    things = said.split(", ")
    if not all(thing in names for thing in things):
        return "no answer"
    return "wrong place" if all(thing in shown for thing in things) else "not in the picture"


def cases(rng):
    names = ["dog", "cat", "tree", "car", "moon", "key", "cup", "bell", "boot", "fish"]
    order = torch.randperm(10, generator=rng).tolist()
    a, b, c, d, absent, other = (names[i] for i in order[:6])
    shown = [a, b, c, d]
    by_hand = ["dog", "cat", "tree", "car"]
    hand = [
        ("dog", "dog", by_hand),
        ("cat", "dog", by_hand),
        ("moon", "dog", by_hand),
        ("2", "dog", by_hand),
        ("3", "2", by_hand),
        ("no", "yes", by_hand),
    ]
    words = [
        (a, a, shown),
        (b, a, shown),
        (absent, a, shown),
        ("yes", a, shown),
        ("", a, shown),
        (f"what {a}", a, shown),
        (f"{a}, {b}", a, shown),
        (f"{a}, {absent}", a, shown),
    ]
    captions = [
        (f"{a}, {b}", f"{a}, {b}", [a, b]),
        (f"{b}, {a}", f"{a}, {b}", [a, b]),
        (a, f"{a}, {b}", [a, b]),
        (f"{a}, {absent}", f"{a}, {b}", [a, b]),
        (f"{absent}, {b}", f"{a}, {b}", [a, b]),
        (f"{absent}, {other}", f"{a}, {b}", [a, b]),
        (f"{a}, 2", f"{a}, {b}", [a, b]),
        (f"{absent}, no", f"{a}, {b}", [a, b]),
    ]
    others = [
        ("0", "0", shown),
        ("1", "0", shown),
        ("yes", "2", shown),
        (a, "2", shown),
        ("yes", "no", shown),
        ("1", "no", shown),
        (a, "yes", shown),
        ("17", "2", shown),
        ("2", "17", shown),
        ("4", "4", shown),
    ]
    # Nearly an answer is none: a model that writes this has not learned what an answer looks like.
    spelled = [
        (f" {a}", a, shown),
        (a.upper(), a, shown),
        ("Yes", "yes", shown),
        (f"{a},{b}", f"{a}, {b}", [a, b]),
        (b, a, shown),
    ]
    return [
        Case("six answers by hand", (hand, names)),
        Case("what is at the top left?", (words, names)),
        Case("what is in the picture?", (captions, names)),
        Case("numbers, yes and no", (others, names)),
        Case("spaces and capitals: nearly an answer", (spelled, names)),
    ]


def run_case(subject, answers, names):
    """Ask for the kind of each answer."""
    return [subject(said, right, shown, names) for said, right, shown in answers]


@alternative
def by_sets(said, right, shown, names):
    forms = [{str(n) for n in range(100)}, {"yes", "no"}]
    for form, kind in zip(forms, ("wrong number", "wrong yes or no"), strict=True):
        if right in form:
            return "right" if said == right else kind if said in form else "no answer"
    things = set(said.split(", "))
    if things - set(names):
        return "no answer"
    if said == right:
        return "right"
    return "not in the picture" if things - set(shown) else "wrong place"


@alternative
def by_form(said, right, shown, names):
    def form(text):
        if text in ("yes", "no"):
            return "wrong yes or no"
        if text.isdigit():
            return "wrong number"
        things = text.split(", ")
        if any(thing not in names for thing in things):
            return None
        return "names"

    if said == right:
        return "right"
    if form(said) != form(right):
        return "no answer"
    if form(said) != "names":
        return form(said)
    return "wrong place" if set(said.split(", ")) <= set(shown) else "not in the picture"


@mistake(
    "Spaces and capitals are put right here before the answer is judged. `Dog` is no name of the list, and nobody has "
    "asked to mend it: compare the answer as it was said."
)
def mended(said, right, shown, names):
    return error_kind(said.strip().lower(), right, shown, names)


@mistake(
    "Spaces around an answer are taken off here. Compare the answer as it was said: ` dog` is no name of the list."
)
def stripped(said, right, shown, names):
    return error_kind(said.strip(), right, shown, names)


@mistake("Capitals are made small here. Compare the answer as it was said: `Yes` is not `yes`.")
def lowered(said, right, shown, names):
    return error_kind(said.lower(), right, shown, names)


@mistake(
    "A large number counts as `no answer` here. Whatever is made of digits has the form of an answer to `how many`, "
    "however wrong it is."
)
def small_numbers_only(said, right, shown, names):
    large = said.isdigit() and int(said) > 9
    kind = error_kind(said, right, shown, names)
    return "no answer" if large and kind == "wrong number" else kind


@mistake(
    "An answer that merely *contains* the right one counts as right here: `dog, cat` for `dog`. Compare the whole "
    "answer."
)
def contains_the_right_one(said, right, shown, names):
    return "right" if right in said.split(", ") else error_kind(said, right, shown, names)


@mistake(
    "A caption is judged by its first thing alone here. It is `not in the picture` as soon as *one* of its things is "
    "not there, and `no answer` as soon as one is no thing: split it at `', '`."
)
def first_thing_only(said, right, shown, names):
    return error_kind(said if said == right else said.split(", ")[0], right, shown, names)


@mistake(
    "Only the first of several things is judged here: a `return` in the loop ends it in its first round. Say `wrong "
    "place` only after the loop, when all of them have been looked at."
)
def judged_in_the_first_round(said, right, shown, names):
    if said == right or right.isdigit() or right in ("yes", "no"):
        return error_kind(said, right, shown, names)
    kind = error_kind(said.split(", ")[0], right, shown, names)
    return "wrong place" if kind == "right" else kind


@mistake(
    "The right names in another order count as right here. A caption names things in the order in which they stand: "
    "another order is another answer, of the kind `wrong place`."
)
def in_any_order(said, right, shown, names):
    same = sorted(said.split(", ")) == sorted(right.split(", "))
    return "right" if same else error_kind(said, right, shown, names)


@mistake(
    "An answer that merely *contains* the right one counts as right here, if only as a part of it: `1` in `17`. "
    "Compare the whole answer."
)
def contains_the_right_letters(said, right, shown, names):
    return "right" if right in said else error_kind(said, right, shown, names)


# The answer alone, or the right one as well.
SPLIT_WITHOUT_THE_SPACE = (
    "The answer is split at `','` here, and a space stays before each further name: ` cat` is no name of the list. "
    "Split it at `', '`."
)


@mistake(SPLIT_WITHOUT_THE_SPACE)
def both_split_without_the_space(said, right, shown, names):
    def are_names(text):
        return all(thing in names for thing in text.split(","))

    if right in ("yes", "no") or right.isdigit() or said == right:
        return error_kind(said, right, shown, names)
    if said in ("yes", "no") or said.isdigit() or are_names(said) != are_names(right):
        return "no answer"
    return "wrong place" if all(thing in shown for thing in said.split(",")) else "not in the picture"


@mistake(SPLIT_WITHOUT_THE_SPACE)
def split_without_the_space(said, right, shown, names):
    if right in ("yes", "no") or right.isdigit() or said == right:
        return error_kind(said, right, shown, names)
    things = said.split(",")
    if not all(thing in names for thing in things):
        return "no answer"
    return "wrong place" if all(thing in shown for thing in things) else "not in the picture"


@mistake(
    "Several things as the answer to `what is at the top left?` become `no answer` here. Names joined by `, ` have the "
    "right form, however many they are: ask then whether all of them are in the picture."
)
def one_name_only(said, right, shown, names):
    kind = error_kind(said, right, shown, names)
    return "no answer" if ", " in said and ", " not in right and kind != "right" else kind


@mistake(
    "An answer with more or fewer things than the right one becomes `no answer` here. Names joined by `, ` have the "
    "right form, however many they are: ask then whether all of them are in the picture."
)
def as_many_names(said, right, shown, names):
    kind = error_kind(said, right, shown, names)
    other_number = len(said.split(", ")) != len(right.split(", "))
    return "no answer" if other_number and kind != "right" else kind


@mistake(
    "The answer is not split here: `cat, dog` is no name, so it becomes `no answer`. A caption has several things: "
    "split it at `', '`, and look at each."
)
def not_split(said, right, shown, names):
    kind = error_kind(said, right, shown, names)
    return "no answer" if ", " in said and kind != "right" else kind


@mistake(
    "One of the things that were said is in the picture, and this takes that for all. As soon as *one* thing is not "
    "there, the kind is `not in the picture`."
)
def one_is_enough(said, right, shown, names):
    kind = error_kind(said, right, shown, names)
    there = any(thing in shown for thing in said.split(", "))
    return "wrong place" if kind == "not in the picture" and there else kind


def by_looking_alone(said, right, shown, names, empty):
    if said == right or right.isdigit() or right in ("yes", "no"):
        return error_kind(said, right, shown, names)
    if said.isdigit() or said in ("yes", "no") or (empty and not said):
        return "no answer"
    return "wrong place" if all(thing in shown for thing in said.split(", ")) else "not in the picture"


NEVER_A_NAME = (
    "You never ask whether what was said is one of `names`. An empty answer, or `what dog`, is no name at all: that is "
    "`no answer`. Only then ask whether it is in the picture."
)


@mistake(NEVER_A_NAME)
def never_a_name(said, right, shown, names):
    return by_looking_alone(said, right, shown, names, empty=False)


@mistake(NEVER_A_NAME)
def never_a_name_but_empty(said, right, shown, names):
    return by_looking_alone(said, right, shown, names, empty=True)


@mistake(
    "Whatever is not in the picture counts as `not in the picture` here, even `2` or `yes`. Ask first whether the "
    "answer has the form of an answer to this question: that is `no answer`."
)
def form_forgotten(said, right, shown, names):
    kind = error_kind(said, right, shown, names)
    return "not in the picture" if kind == "no answer" and right in names else kind


@mistake(
    "Every wrong answer to `how many` counts as `wrong number` here, even `yes` or the name of a thing. An answer "
    "that is no number is `no answer`, and likewise for yes and no."
)
def asked_form_only(said, right, shown, names):
    kind = error_kind(said, right, shown, names)
    if kind == "no answer" and right.isdigit():
        return "wrong number"
    return "wrong yes or no" if kind == "no answer" and right in ("yes", "no") else kind


@mistake(
    "`wrong place` and `not in the picture` are exchanged: a thing that is shown, but not there, is at the wrong place."
)
def exchanged(said, right, shown, names):
    other = {"wrong place": "not in the picture", "not in the picture": "wrong place"}
    kind = error_kind(said, right, shown, names)
    return other.get(kind, kind)


@mistake(
    "The name of a thing, where a number or yes or no is asked for, is judged by the picture here. It has another form "
    "than `right`, so it is `no answer`: compare the forms before you look at the picture."
)
def names_of_any_question(said, right, shown, names):
    things = said.split(", ")
    if said == right or not all(thing in names for thing in things):
        return error_kind(said, right, shown, names)
    return "wrong place" if all(thing in shown for thing in things) else "not in the picture"


EXERCISE = Exercise(
    id="error_kind",
    title="What kind of error?",
    points=2,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "`right` tells which form is asked for: a number, yes or no, or names. First right or not, then the form, "
        "then the picture.",
        '`said.split(", ")` gives the things, and `all(... for thing in things)` asks something of each of them: '
        "first whether it is a name at all, then whether it is in the picture.",
    ),
    reference=error_kind,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, A gallery of wrong answers",
)

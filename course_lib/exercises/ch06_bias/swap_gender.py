"""The counterfactual of a sentence, with its genders exchanged, found from code that takes "her" for "him"."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def swap_gender(words, partner, things):
    swapped = []
    for word, following in zip(words, [*words[1:], "."], strict=True):
        if word == "her":
            swapped.append("his" if following in things else "him")
        else:
            swapped.append(partner.get(word, word))
    return swapped


def cases(rng):
    kin = [("man", "woman"), ("father", "mother"), ("son", "daughter"), ("king", "queen"), ("lord", "lady")]
    nouns = ["bag", "book", "coat", "lunch", "house", "horse", "idea", "shoes"]
    jobs = ["baker", "pilot", "nurse", "herald", "shepherd", "sheriff"]

    def pick(among):
        return among[int(torch.randint(len(among), (), generator=rng))]

    def given():
        some = [kin[i] for i in torch.randperm(len(kin), generator=rng)[:3]]
        both = [(a, b) for one, other in some for a, b in ((one, other), (other, one))]
        order = torch.randperm(len(nouns), generator=rng)[:4]
        words = [("he", "she"), ("she", "he"), ("his", "her"), ("him", "her"), ("her", "him"), *both]
        return some, dict(words), [nouns[i] for i in order]

    def sentences(n):
        some, partner, things = given()
        words = []
        for _ in range(n):
            person, thing = pick([*jobs, *pick(some)]), pick(things)
            he, his, him = pick([("he", "his", "him"), ("she", "her", "her")])
            forms = (
                f"the {person} took {his} {thing} home",
                f"they met the {person} and thanked {him}",
                f"the {person} said that {he} saw {him} with {his} {thing}",
                f"{he} gave {him} the {thing} of {his} {thing}",
            )
            words += [*pick(forms).split(), "."]
        return words, partner, things

    _, partner, things = given()
    noun = things[0]
    return [
        Case(
            "by hand: a possession, then a person",
            (f"she took her {noun} and thanked her .".split(), partner, things),
            expected=f"he took his {noun} and thanked him .".split(),
        ),
        Case("'her' as the last word", (["they", "met", "her"], partner, things), expected=["they", "met", "him"]),
        Case("8 sentences", sentences(8)),
        Case("20 sentences", sentences(20)),
        Case("40 sentences with other words", sentences(40)),
    ]


@alternative
def by_places(words, partner, things):
    swapped = [partner.get(word, word) for word in words]
    for place, word in enumerate(words):
        if word == "her":
            owned = place + 1 < len(words) and words[place + 1] in things
            swapped[place] = "his" if owned else "him"
    return swapped


@alternative
def from_the_end(words, partner, things):
    swapped, following = [], None
    for word in reversed(words):
        other = partner.get(word, word)
        if word == "her" and following in things:
            other = "his"
        swapped.insert(0, other)
        following = word
    return swapped


@mistake(
    'The fault is still there: "her" becomes "him" in "her coat", too. Look at the word that follows.',
    given=True,
)
def always_him(words, partner, things):
    return [partner.get(word, word) for word in words]


@mistake('Each "her" has become "his" here. At the end of "thanked her" it is "him": look at the word that follows.')
def always_his(words, partner, things):
    return ["his" if word == "her" else partner.get(word, word) for word in words]


@mistake('Here "his" and "him" are exchanged: before a thing, "her" is "his"; elsewhere it is "him".')
def his_and_him(words, partner, things):
    following = [*words[1:], "."]
    return [
        ("him" if after in things else "his") if word == "her" else partner.get(word, word)
        for word, after in zip(words, following, strict=True)
    ]


@mistake('"her" is left as it is. The counterfactual of "her" is "his" or "him".')
def her_stays(words, partner, things):
    return [word if word == "her" else partner.get(word, word) for word in words]


@mistake(
    "The words are exchanged one pair after the other over the whole text, so that what became female becomes male "
    "again. Look up each word once."
)
def one_pair_after_another(words, partner, things):
    swapped = swap_gender(words, {}, things)
    for one, other in partner.items():
        swapped = [other if word == one and one != "her" else word for word in swapped]
    return swapped


@mistake('Only pronouns are exchanged here. The words in `partner`, such as "father", have a gender too.')
def pronouns_alone(words, partner, things):
    pronouns = {word: partner[word] for word in ("he", "she", "his", "him")}
    return swap_gender(words, pronouns, things)


@mistake(
    'At the end of the list, "her" becomes "his" here. Nothing follows that she could own, so it is "him" there, as in '
    '"they met her".'
)
def his_at_the_end(words, partner, things):
    return swap_gender([*words, things[0]], partner, things)[: len(words)]


@mistake(
    'Here "her" is "him" only at the end of a sentence. It is also in "gave her the book": ask whether the word that '
    "follows is among `things`."
)
def him_before_a_full_stop(words, partner, things):
    following = [*words[1:], "."]
    return [
        ("him" if after == "." else "his") if word == "her" else partner.get(word, word)
        for word, after in zip(words, following, strict=True)
    ]


@mistake(
    'The first "her" decides for all of them here, as with `words.index("her")`, which always finds the first. Each '
    "has its own word that follows: count the places with `enumerate`."
)
def first_her_decides(words, partner, things):
    first = (*words, "her").index("her")
    owned = (*words, "", "")[first + 1] in things
    return [("his" if owned else "him") if word == "her" else partner.get(word, word) for word in words]


# The same if any word follows at all, unless `things` are looked at.
@mistake(
    'Here "her" becomes "his" even where the word right behind it is no thing, as in "thanked her .". Only that one '
    "word can be what she owns: is it among `things`?"
)
def any_thing_anywhere(words, partner, things):
    owned = any(thing in words for thing in things)
    return [("his" if owned else "him") if word == "her" else partner.get(word, word) for word in words]


@mistake(
    'This makes "his" of "her" wherever a thing comes somewhere *later*. Only the word right behind "her" can be what '
    "she owns."
)
def any_thing_later(words, partner, things):
    return [
        ("his" if any(thing in words[i:] for thing in things) else "him") if word == "her" else partner.get(word, word)
        for i, word in enumerate(words)
    ]


@mistake('Only "her" is exchanged here. All the other words with a gender stay: look each of them up in `partner`.')
def her_alone(words, partner, things):
    return swap_gender(words, {}, things)


@mistake(
    "Words without a gender are missing. The list stays as long as it was: a word that is not in `partner` comes back "
    "as it is."
)
def gendered_words_alone(words, partner, things):
    exchanged = swap_gender(words, partner, things)
    return [other for word, other in zip(words, exchanged, strict=True) if word in partner]


@mistake(
    "The last word is missing. Pairs of neighbours, as `zip(words, words[1:])` makes them, end before it: the last "
    "word has none that follows."
)
def last_word_missing(words, partner, things):
    return swap_gender(words, partner, things)[:-1]


EXERCISE = Exercise(
    id="swap_gender",
    title="A counterfactual sentence, with a fault",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        'What is "her" in "took her coat", and what in "thanked her"? Which word tells them apart?',
        'Is the word that follows "her" among `things`? And what does your code do where "her" is the last word?',
    ),
    reference=swap_gender,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, Does a repair mend the model?",
)

"""Which part of a split a picture belongs to, where variants of one drawing stay together."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def part_of(artist, concept, family_of, held_out, new_artist):
    new_families = {family_of[held] for held in held_out}
    new_concept = family_of[concept] in new_families
    if artist == new_artist:
        return "both new" if new_concept else "new artist"
    return "new concept" if new_concept else "train"


def cases(rng):
    hearts = {"red heart": "heart", "blue heart": "heart", "dog": "dog", "wolf": "wolf", "teacup": "teacup"}
    by_hand = [(artist, concept) for artist in ("ann", "bo") for concept in hearts]
    # Twelve families of three concepts; a family may have one, two or three of them held out.
    family_of = {f"{size} thing {i}": f"thing {i}" for i in range(12) for size in ("small", "plain", "large")}
    concepts = list(family_of)
    some = [concepts[3 * i : 3 * i + 3] for i in torch.randperm(12, generator=rng)[:4].tolist()]
    held_out = [some[0][1], *some[1][:2], *some[2], some[3][2]]
    artists = ["ann", "bo", "cy", "di"]
    new_artist = artists[int(torch.randint(4, (), generator=rng))]
    learned_artist = next(artist for artist in artists if artist != new_artist)
    pictures = [(artist, concept) for concept in concepts for artist in (new_artist, learned_artist)]
    # No name says which family it is of: hot dog is no dog, and a family's name is in none of its concepts.
    animals = ["dog", "hot dog", "cat", "catfish", "tomcat", "bat", "cricket bat", "ant", "elephant", "mouse"]
    families = ["f", "food", "g", "fish", "g", "h", "tool", "ant", "large", "mouse"]
    order = torch.randperm(10, generator=rng).tolist()
    tricky = {animals[i]: families[i] for i in order}
    held = [["dog", "tomcat", "bat", "ant"], ["hot dog", "catfish", "cricket bat", "elephant"]][int(order[0] < 5)]
    return [
        Case("five concepts by two artists", (by_hand, hearts, ["red heart", "wolf"], "bo")),
        Case("72 pictures by two of four artists", (pictures, family_of, held_out, new_artist)),
        Case(
            "names that say nothing about the family",
            ([(artist, name) for name in tricky for artist in (learned_artist, new_artist)], tricky, held, new_artist),
        ),
        Case(
            "artists whose names are alike",
            ([(artist, name) for name in hearts for artist in ("bo", "boris", "jimbo", "o")], hearts, ["dog"], "boris"),
        ),
    ]


def run_case(subject, pictures, family_of, held_out, new_artist):
    """Ask about each picture of a collection."""
    return [subject(*picture, family_of, held_out, new_artist) for picture in pictures]


@alternative
def by_table(artist, concept, family_of, held_out, new_artist):
    names = {(False, False): "train", (True, False): "new artist", (False, True): "new concept"}
    new_concept = any(family_of[held] == family_of[concept] for held in held_out)
    return names.get((artist == new_artist, new_concept), "both new")


@alternative
def by_relatives(artist, concept, family_of, held_out, new_artist):
    relatives = [other for other, family in family_of.items() if family == family_of[concept]]
    new = ["artist"] * (artist == new_artist) + ["concept"] * (not set(relatives).isdisjoint(held_out))
    return {0: "train", 1: f"new {new[0] if new else ''}", 2: "both new"}[len(new)]


@mistake(
    "A leak: this looks for the concept itself in `held_out`. Its relatives then stay in training: a red heart is in "
    "the test, and the blue heart, the same drawing, is learned. Compare *families*."
)
def by_name(artist, concept, family_of, held_out, new_artist):
    return by_table.solution(artist, concept, {name: name for name in family_of}, held_out, new_artist)


BY_WORDS = (
    "This guesses the family from the words of a name: a hot dog is then a dog, and a wolf none. Look it up, "
    "`family_of[concept]`: it is the only thing that knows."
)


def by_a_part_of_the_name(family, artist, concept, held_out, new_artist):
    return parts(artist == new_artist, family(concept) in {family(held) for held in held_out})


@mistake(BY_WORDS)
def by_the_last_word(artist, concept, family_of, held_out, new_artist):
    return by_a_part_of_the_name(lambda name: name.split()[-1], artist, concept, held_out, new_artist)


@mistake(BY_WORDS)
def by_the_first_word(artist, concept, family_of, held_out, new_artist):
    return by_a_part_of_the_name(lambda name: name.split()[0], artist, concept, held_out, new_artist)


A_PIECE_OF_THE_NAME = (
    "This looks whether the name of a family is a *part of* the name of a concept. A catfish is no cat: compare whole "
    "families, `family_of[concept] == family_of[held]`."
)


@mistake(A_PIECE_OF_THE_NAME)
def by_a_piece_of_the_name(artist, concept, family_of, held_out, new_artist):
    new_concept = any(family_of[concept] in held for held in held_out)
    return parts(artist == new_artist, new_concept)


@mistake(A_PIECE_OF_THE_NAME)
def by_a_piece_of_its_own_name(artist, concept, family_of, held_out, new_artist):
    new_concept = any(family_of[held] in concept for held in held_out)
    return parts(artist == new_artist, new_concept)


def parts(new_artist, new_concept):
    names = {(False, False): "train", (True, False): "new artist", (False, True): "new concept"}
    return names.get((new_artist, new_concept), "both new")


@mistake(
    "This looks for the *name of the family* in `held_out`, which is a list of concepts. Make the set of the families "
    "of the concepts in `held_out` first, then look there."
)
def family_in_held_out(artist, concept, family_of, held_out, new_artist):
    new_concept = family_of[concept] in held_out
    names = {(False, False): "train", (True, False): "new artist", (False, True): "new concept"}
    return names.get((artist == new_artist, new_concept), "both new")


@mistake(
    "A leak: this asks only whether a *relative* is held out, not the concept itself. A concept that is held out alone "
    "in its family stays in training here."
)
def relatives_only(artist, concept, family_of, held_out, new_artist):
    others = [held for held in held_out if held != concept]
    return part_of(artist, concept, family_of, others, new_artist)


@mistake(
    "A leak: a family leaves training here only if *all* of its concepts are held out. One is enough, since the "
    "others show nearly the same drawing."
)
def whole_families_only(artist, concept, family_of, held_out, new_artist):
    relatives = [other for other, family in family_of.items() if family == family_of[concept]]
    held = [concept] if all(other in held_out for other in relatives) else []
    return part_of(artist, concept, family_of, held, new_artist)


@mistake(
    "A new concept by the new artist is called `new artist` here. If both are new, the part is `both new`: otherwise "
    "the score on the new artist mixes two difficulties."
)
def artist_first(artist, concept, family_of, held_out, new_artist):
    return part_of(artist, concept, family_of, held_out, new_artist).replace("both new", "new artist")


@mistake(
    "A new concept by the new artist is called `new concept` here. If both are new, the part is `both new`: otherwise "
    "the score on new concepts mixes two difficulties."
)
def concept_first(artist, concept, family_of, held_out, new_artist):
    return part_of(artist, concept, family_of, held_out, new_artist).replace("both new", "new concept")


@mistake(
    "A piece of the new artist's name is enough here, as by `in`: bo is then taken for boris. Compare whole names, "
    "`artist == new_artist`."
)
def by_a_piece_of_the_artist(artist, concept, family_of, held_out, new_artist):
    return part_of(new_artist if artist in new_artist else artist, concept, family_of, held_out, new_artist)


@mistake("A leak: a new concept by the new artist goes to `train` here. It is `both new`.")
def both_into_training(artist, concept, family_of, held_out, new_artist):
    return part_of(artist, concept, family_of, held_out, new_artist).replace("both new", "train")


@mistake(
    "The two names are exchanged: `new artist` is a learned concept in a style that is not learned, `new concept` the "
    "reverse."
)
def exchanged(artist, concept, family_of, held_out, new_artist):
    other = {"new artist": "new concept", "new concept": "new artist"}
    part = part_of(artist, concept, family_of, held_out, new_artist)
    return other.get(part, part)


EXERCISE = Exercise(
    id="part_of",
    title="Which part of the split?",
    points=2,
    minutes=10,
    difficulty=1,
    kind="code",
    hints=(
        "Ask two questions, one after the other: is the artist new? Is the concept new? For the second, which "
        "families have left training?",
        "Make the set of all families that have a concept in `held_out`; `family_of` says the family of each. The "
        "concept is new if its own family is in that set. Then two times two answers.",
    ),
    reference=part_of,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, Held-out pictures",
)

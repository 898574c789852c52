"""Where a picture goes into a text: its vectors take the places of the marks (Liu et al. 2023, LLaVA)."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def insert_pictures(embedded, is_picture, vectors):
    return embedded.masked_scatter(is_picture[..., None], vectors)


def cases(rng):
    def of(*rows):
        is_picture = torch.tensor(rows) == 1
        width = 3
        embedded = torch.randn(*is_picture.shape, width, generator=rng)
        return embedded, is_picture, torch.randn(int(is_picture.sum()), width, generator=rng)

    return [
        Case("a picture of two vectors, then a question", of([1, 1, 0, 0, 0], [1, 1, 0, 0, 0])),
        Case("a word before the picture", of([0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0])),
        Case("two pictures in one text, one in the next", of([1, 0, 1, 0, 0], [0, 1, 0, 0, 0])),
        Case("the picture is the last thing", of([0, 0, 1, 1], [0, 0, 1, 1])),
    ]


@alternative
def by_index(embedded, is_picture, vectors):
    result = embedded.clone()
    result[is_picture] = vectors
    return result


@alternative
def by_counting(embedded, is_picture, vectors):
    number = is_picture.flatten().long().cumsum(0).clamp(min=1) - 1
    spread = vectors[number].reshape(embedded.shape)
    return torch.where(is_picture[..., None], spread, embedded)


@alternative
def with_plain_loops(embedded, is_picture, vectors):
    result = embedded.clone()
    number = 0
    for text in range(embedded.shape[0]):
        for place in range(embedded.shape[1]):
            if is_picture[text, place]:
                result[text, place] = vectors[number]
                number += 1
    return result


@mistake(
    "Each mark gets the vector after its own, and the last one comes twice. This is the fault of the given code: "
    "`cumsum` counts from 1, and rows of a tensor are counted from 0.",
    given=True,
)
def counted_from_one(embedded, is_picture, vectors):
    number = is_picture.flatten().long().cumsum(0).clamp(max=len(vectors) - 1)
    return torch.where(is_picture[..., None], vectors[number].reshape(embedded.shape), embedded)


@mistake("The picture starts one place too late: the first mark stays, and the word after the last mark is lost.")
def one_place_late(embedded, is_picture, vectors):
    later = torch.zeros_like(is_picture)
    later[:, 1:] = is_picture[:, :-1]
    return embedded.masked_scatter(later[..., None], vectors)


@mistake("The vectors are added to those of the marks. They should take their places.")
def added(embedded, is_picture, vectors):
    return embedded + torch.zeros_like(embedded).masked_scatter(is_picture[..., None], vectors)


@mistake(
    "The order is wrong: the first vectors go to the first mark of *every* text. They belong to the first text, from "
    "left to right, then to the second."
)
def place_by_place(embedded, is_picture, vectors):
    turned = embedded.transpose(0, 1).masked_scatter(is_picture.T[..., None], vectors)
    return turned.transpose(0, 1)


@mistake(
    "All texts get the vectors of the first picture. Go on where the text before has stopped: the vectors of the "
    "second text come after those of the first."
)
def first_picture_everywhere(embedded, is_picture, vectors):
    place = (is_picture.long().cumsum(1) - 1).clamp(min=0)
    return torch.where(is_picture[..., None], vectors[place], embedded)


@mistake("The vectors of the pictures are in reverse order.")
def reversed_order(embedded, is_picture, vectors):
    return embedded.masked_scatter(is_picture[..., None], vectors.flip(0))


@mistake(
    "This puts the vectors where the *words* are. The marks are where `is_picture` is true; the words stay as they are."
)
def words_replaced(embedded, is_picture, vectors):
    number = (is_picture.long().flatten().cumsum(0) - 1).clamp(min=0)
    return torch.where(is_picture[..., None], embedded, vectors[number].reshape(embedded.shape))


@mistake("Nothing is inserted: the marks are still there.")
def nothing_inserted(embedded, is_picture, vectors):
    return embedded + 0 * vectors.sum()


@mistake("Every mark gets the *first* vector. Each has its own: the first mark the first, the second the second.")
def first_vector_everywhere(embedded, is_picture, vectors):
    return torch.where(is_picture[..., None], vectors[0], embedded)


@mistake("Every mark gets the *mean* of the vectors. Then the picture has no places any more: each mark has its own.")
def mean_everywhere(embedded, is_picture, vectors):
    return torch.where(is_picture[..., None], vectors.mean(0), embedded)


@mistake("The words are lost: there are zeros in their places. Begin with a copy of `embedded`, and replace the marks.")
def words_lost(embedded, is_picture, vectors):
    return torch.zeros_like(embedded).masked_scatter(is_picture[..., None], vectors)


@mistake(
    "The number of the vector is counted at every token, at words too. Count marks alone: the number goes up only "
    "where `is_picture` is true."
)
def words_counted(embedded, is_picture, vectors):
    number = torch.arange(is_picture.numel()) % len(vectors)
    return torch.where(is_picture[..., None], vectors[number].reshape(embedded.shape), embedded)


@mistake(
    "The first vector comes twice, and the last one never. With `cumsum` the first mark counts 1, so take off 1, not 2."
)
def two_taken_off(embedded, is_picture, vectors):
    number = (is_picture.long().flatten().cumsum(0) - 2).clamp(min=0)
    return torch.where(is_picture[..., None], vectors[number].reshape(embedded.shape), embedded)


@mistake(
    "Only the first text has its picture. Is the `return` inside the loop? Then it ends after the first text: indent "
    "it as the `for`."
)
def first_text_alone(embedded, is_picture, vectors):
    in_first = is_picture & (torch.arange(len(is_picture)) == 0)[:, None]
    return embedded.masked_scatter(in_first[..., None], vectors)


EXERCISE = Exercise(
    id="insert_pictures",
    title="Where the picture goes",
    points=2,
    minutes=10,
    difficulty=2,
    kind="debug",
    hints=(
        "Try the given code by hand on marks at the places 0 and 1: what does `cumsum` give there, and which rows of "
        "`vectors` are these?",
        "The first mark should get row 0, and `cumsum` gives 1 there. What do words before the first mark get then, "
        "and is it a row that there is? (In a copy of `embedded`, `is_picture` can also be the index that you assign "
        "to.)",
    ),
    reference=insert_pictures,
    cases=cases,
    run_case=call_and_differentiate,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, A picture in a sentence",
)

"""How many numbers a LoRA trains (Hu et al. 2021)."""

import itertools

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def lora_parameters(shapes, rank):
    return sum(rank * (d_out + d_in) for d_out, d_in in shapes)


def cases(rng):
    some = torch.randint(16, 72, (2,), generator=rng).tolist()
    width, other, rank = (int(torch.randint(*bounds, (), generator=rng)) for bounds in ((30, 300), (30, 300), (5, 20)))
    return [
        Case("one square matrix, rank 1", ([[width, width]], 1)),
        Case("the four matrices of a layer of width 64, rank 8", ([[192, 64], [64, 64], [256, 64], [64, 256]], 8)),
        Case("queries and values of GPT-3, rank 4", ([[12288, 12288]] * 192, 4)),
        Case("two matrices, rank 3", ([some, [10, 40]], 3)),
        Case(f"three matrices, rank {rank}", ([[width, other], [other, width], [width, width + 5]], rank)),
    ]


@alternative
def all_sides_at_once(shapes, rank):
    return rank * sum(itertools.chain.from_iterable(shapes))


@alternative
def by_building(shapes, rank):
    a, b = zip(*((torch.empty(rank, d_in), torch.empty(d_out, rank)) for d_out, d_in in shapes), strict=True)
    return sum(matrix.numel() for matrix in a + b)


@alternative
def one_after_another(shapes, rank):
    numbers = 0
    for d_out, d_in in shapes:
        numbers += rank * d_in
        numbers += d_out * rank
    return numbers


@mistake(
    "This multiplies d_out by d_in. Add up the sizes of the two thin matrices: A is rank x d_in, and B is d_out x rank."
)
def sides_multiplied(shapes, rank):
    return sum(rank * d_out * d_in for d_out, d_in in shapes)


@mistake("The rank is missing: A has `rank` rows, and B has `rank` columns.")
def no_rank(shapes, rank):
    return sum(d_out + d_in for d_out, d_in in shapes)


@mistake("This counts A alone. B, which is d_out x rank, is trained as well.")
def a_alone(shapes, rank):
    return sum(rank * d_in for d_out, d_in in shapes)


AS_IF_SQUARE = (
    "This is right for square matrices only. B has d_out rows, A has d_in columns, and d_out need not be d_in."
)


@mistake(AS_IF_SQUARE)
def twice_the_size_of_b(shapes, rank):
    return sum(2 * rank * d_out for d_out, d_in in shapes)


@mistake(AS_IF_SQUARE)
def as_if_square(shapes, rank):
    return sum(2 * rank * d_in for d_out, d_in in shapes)


@mistake("This counts the frozen matrices too. Only A and B are trained.")
def frozen_matrices_counted(shapes, rank):
    return sum(d_out * d_in + rank * (d_out + d_in) for d_out, d_in in shapes)


@mistake("This counts B alone. A, which is rank x d_in, is trained as well.")
def b_alone(shapes, rank):
    return sum(rank * d_out for d_out, d_in in shapes)


RANK_ON_ONE_SIDE = (
    "The rank multiplies one of the two sides alone: `rank * a + b` is (rank * a) + b. Both matrices have the rank in "
    "their shape; put the sum in brackets."
)


@mistake(RANK_ON_ONE_SIDE)
def rank_times_d_out_alone(shapes, rank):
    return sum(rank * d_out + d_in for d_out, d_in in shapes)


@mistake(RANK_ON_ONE_SIDE)
def rank_times_d_in_alone(shapes, rank):
    return sum(d_out + rank * d_in for d_out, d_in in shapes)


@mistake("The sizes of A and B are multiplied. Both are trained, one beside the other: add them.")
def sizes_multiplied(shapes, rank):
    return sum(rank * d_out * rank * d_in for d_out, d_in in shapes)


@mistake(
    "This counts the first matrix alone. Add up over all `shapes`; if you do, is the `return` behind the loop, and not "
    "within it?"
)
def first_matrix_alone(shapes, rank):
    d_out, d_in = shapes[0]
    return rank * (d_out + d_in)


@mistake("This counts the last matrix alone. `n = ...` begins anew in each round; `n += ...` adds to what is there.")
def last_matrix_alone(shapes, rank):
    d_out, d_in = shapes[-1]
    return rank * (d_out + d_in)


@mistake("This counts a bias for each output too. LoRA trains A and B alone.")
def with_a_bias(shapes, rank):
    return sum(rank * (d_out + d_in) + d_out for d_out, d_in in shapes)


@mistake("This is multiplied by the number of matrices, and the sum goes over all of them already.")
def times_the_matrices(shapes, rank):
    return len(shapes) * lora_parameters(shapes, rank)


@mistake("This counts the largest matrix alone. Every matrix of `shapes` gets an A and a B: add up over all of them.")
def largest_matrix_alone(shapes, rank):
    return rank * max(d_out + d_in for d_out, d_in in shapes)


@mistake("This is twice as many. A has rank * d_in numbers and B has d_out * rank: that is all.")
def twice_as_many(shapes, rank):
    return 2 * lora_parameters(shapes, rank)


EXERCISE = Exercise(
    id="lora_parameters",
    title="What does a rank cost?",
    points=1,
    minutes=4,
    difficulty=1,
    kind="code",
    hints=(
        "A has `rank` rows, and as many columns as the frozen matrix. What shape must B have?",
        "Write down the two shapes for one matrix, with the rank in each of them. How many numbers are in A, and how "
        "many in B? Then add up over all matrices.",
    ),
    reference=lora_parameters,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Two thin matrices",
)

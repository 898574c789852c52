"""After training, a LoRA is added to the frozen matrix, and the layer costs what it did before (Hu et al. 2021)."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def lora_merge(weight, a, b, alpha):
    return weight + alpha / a.shape[0] * (b @ a)


def cases(rng):
    def square_layer(width, rank):
        """weight, a and b of a layer whose LoRA has been trained."""
        shapes = (width, width), (rank, width), (width, rank)
        return [torch.randn(*shape, generator=rng) for shape in shapes]

    return [
        Case("rank 1, alpha 1", (*square_layer(3, rank=1), 1.0)),
        Case("a square matrix, rank 2, alpha 4", (*square_layer(5, rank=2), 4.0)),
        Case("a square matrix, rank 4, alpha 2", (*square_layer(6, rank=4), 2.0)),
    ]


@alternative
def without_gradients(weight, a, b, alpha):
    with torch.no_grad():
        return torch.addmm(weight, b, a, alpha=alpha / len(a))


@alternative
def by_outer_products(weight, a, b, alpha):
    return weight + sum(torch.outer(b[:, i], a[i]) for i in range(len(a))) * alpha / len(a)


@mistake(
    "The fault is still there: alpha / rank is on A and on B, so the update is multiplied by it twice. Where alpha is "
    "the rank nobody notices; in this lab it is twice the rank, and the update comes out doubled. Scale once.",
    given=True,
)
def scaled_twice(weight, a, b, alpha):
    scale = alpha / a.shape[0]
    return weight + (scale * b) @ (scale * a)


@mistake("Now B A is added without any factor: multiply it by alpha / rank, once, as in `lora_forward`.")
def not_scaled(weight, a, b, alpha):
    return weight + b @ a


@mistake("This multiplies B A by alpha alone. The factor is alpha / rank; the rank is the number of rows of A.")
def scaled_by_alpha(weight, a, b, alpha):
    return weight + alpha * (b @ a)


@mistake(
    "This divides alpha by the width of the layer. Divide it by the rank, which is the number of rows of A: "
    "`a.shape[0]`."
)
def divided_by_the_width(weight, a, b, alpha):
    return weight + alpha / a.shape[1] * (b @ a)


@mistake("This subtracts the update, which is how a merge is undone. To merge, add it.")
def subtracted(weight, a, b, alpha):
    return weight - alpha / a.shape[0] * (b @ a)


@mistake("This is the update alone. Add it to the frozen matrix, `weight`.")
def update_alone(weight, a, b, alpha):
    return alpha / a.shape[0] * (b @ a)


@mistake(
    "`a @ b` has the shape (rank, rank), at rank 1 a single number, which is then added to every entry. Take `b @ a`, "
    "which has the shape of the weight."
)
def product_the_wrong_way_round(weight, a, b, alpha):
    return weight + alpha / a.shape[0] * (a @ b)


@mistake("The update is transposed. `b @ a` has the shape d_out x d_in, as the weight has: add it as it is.")
def update_transposed(weight, a, b, alpha):
    return weight + alpha / a.shape[0] * (b @ a).T


@mistake("The frozen matrix is multiplied by alpha / rank too. Multiply B A alone, and add it to `weight` as it is.")
def weight_scaled_too(weight, a, b, alpha):
    return alpha / a.shape[0] * (weight + b @ a)


@mistake(
    "The root of alpha / rank is on one of the two alone. The product B A has to have the whole factor, alpha / rank."
)
def root_of_the_factor(weight, a, b, alpha):
    return weight + (alpha / a.shape[0]) ** 0.5 * (b @ a)


@mistake("The factor is upside down. It is alpha / rank: a larger alpha makes A and B count for more.")
def upside_down(weight, a, b, alpha):
    return weight + a.shape[0] / alpha * (b @ a)


@mistake("This divides by the rank twice. The factor of B A is alpha / rank, once.")
def divided_by_the_rank_twice(weight, a, b, alpha):
    return weight + alpha / a.shape[0] ** 2 * (b @ a)


@mistake("`//` rounds the quotient down, to 0 if alpha is below the rank. Divide with `/`.")
def rounded_down(weight, a, b, alpha):
    return weight + alpha // a.shape[0] * (b @ a)


@mistake("alpha is on A and on B, so the update is multiplied by it twice. The factor of B A is alpha / rank, once.")
def alpha_twice(weight, a, b, alpha):
    return weight + alpha * alpha / a.shape[0] * (b @ a)


@mistake("alpha is multiplied by the rank. Divide it: the factor is alpha / rank.")
def times_the_rank(weight, a, b, alpha):
    return weight + alpha * a.shape[0] * (b @ a)


EXERCISE = Exercise(
    id="lora_merge",
    title="Back into one matrix, with a fault",
    points=1,
    minutes=4,
    difficulty=1,
    kind="debug",
    hints=(
        "Give it a rank of 1, an alpha of 3, and the numbers 0, 1 and 1 for W, A and B. What should come out, and "
        "what does?",
        "The product of `scale * b` and `scale * a` has the factor scale times scale. How often should scale be in "
        "it? And for which scale does nobody notice?",
    ),
    reference=lora_merge,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Two thin matrices",
)

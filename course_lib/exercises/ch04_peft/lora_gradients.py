"""What pulls at the two thin matrices of a LoRA, and so where they may begin (Hu et al. 2021, section 4.1)."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def lora_gradients(x, a, b, alpha, g):
    scale = alpha / a.shape[0]
    return scale * (g @ b).T @ x, scale * g.T @ (x @ a.T)


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, tokens, d_in, d_out, rank, alpha, zero_a=False, zero_b=False):
        a, b = normal(rank, d_in) * (not zero_a), normal(d_out, rank) * (not zero_b)
        return Case(name, (normal(tokens, d_in), a, b, alpha, normal(tokens, d_out)))

    by_hand = [torch.tensor([[1.0, 1.0, 5.0]]), torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0], [0.0], [2.0]])]
    return [
        Case("by hand: one token, rank 1", (*by_hand, 1.0, torch.tensor([[1.0, 0.0, -1.0]]))),
        case("B is zero, rank 2", 3, 5, 4, 2, 4.0, zero_b=True),
        case("A is zero, rank 2", 3, 4, 6, 2, 3.0, zero_a=True),
        case("one token, rank 3", 1, 6, 4, 3, 1.0),
        case("5 tokens, rank 2", 5, 4, 7, 2, 8.0),
    ]


@alternative
def by_autograd(x, a, b, alpha, g):
    a, b = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    change = alpha / len(a) * (x @ a.T @ b.T)
    return list(torch.autograd.grad((change * g).sum(), (a, b)))


@alternative
def by_einsum(x, a, b, alpha, g):
    by_a = torch.einsum("to,or,ti->ri", g, b, x)
    by_b = torch.einsum("to,ri,ti->or", g, a, x)
    return [alpha * by_a / b.shape[1], alpha * by_b / b.shape[1]]


@alternative
def through_the_large_matrix(x, a, b, alpha, g):
    by_product = alpha / len(a) * sum(torch.outer(out, into) for out, into in zip(g, x, strict=True))
    return b.T @ by_product, by_product @ a.T


@alternative
def token_by_token(x, a, b, alpha, g):
    scale = alpha / len(a)
    by_a, by_b = torch.zeros_like(a), torch.zeros_like(b)
    for into, out in zip(x, g, strict=True):
        by_a += scale * torch.outer(b.T @ out, into)
        by_b += scale * torch.outer(out, a @ into)
    return [by_a, by_b]


@mistake("The factor alpha / rank is missing: it stands in front of B A, so it is in both gradients.")
def not_scaled(x, a, b, alpha, g):
    return lora_gradients(x, a, b, len(a), g)


@mistake(
    "This multiplies by alpha alone. The factor in front of B A is alpha / rank; the rank is the number of rows of A."
)
def scaled_by_alpha(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha * len(a), g)


@mistake(
    "This divides alpha by the width of the layer. Divide it by the rank, which is the number of rows of A: "
    "`a.shape[0]`."
)
def divided_by_the_width(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha * len(a) / a.shape[1], g)


@mistake("The factor alpha / rank is in here twice. It stands in front of B A once, so it is in each gradient once.")
def scaled_twice(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha * alpha / len(a), g)


@mistake("The factor alpha / rank is in the gradient of A, and not in that of B. It belongs to both.")
def b_not_scaled(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha, g)[0], g.T @ (x @ a.T)


@mistake("The factor alpha / rank is in the gradient of B, and not in that of A. It belongs to both.")
def a_not_scaled(x, a, b, alpha, g):
    return (g @ b).T @ x, lora_gradients(x, a, b, alpha, g)[1]


@mistake(
    "These are means over the tokens. `g` is the gradient of the whole loss by each output, so what the tokens pull is "
    "added up."
)
def mean_over_tokens(x, a, b, alpha, g):
    return tuple(gradient / len(x) for gradient in lora_gradients(x, a, b, alpha, g))


@mistake("The order is the other way round: return the gradient with respect to `a` first, then that of `b`.")
def exchanged(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha, g)[::-1]


@mistake(
    "Both signs are wrong. A step goes against the gradient; what is asked for is the gradient itself, which says how "
    "the loss *rises*."
)
def the_steps(x, a, b, alpha, g):
    return tuple(-gradient for gradient in lora_gradients(x, a, b, alpha, g))


@mistake(
    "This divides alpha by d_out, the number of rows of B. Divide it by the rank, which is the number of rows of A: "
    "`a.shape[0]`."
)
def divided_by_d_out(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha * len(a) / len(b), g)


@mistake(
    "These are means over all outputs of all tokens. `g` is the gradient of the whole loss by each output, so what the "
    "outputs and tokens pull is added up."
)
def mean_over_outputs(x, a, b, alpha, g):
    return tuple(gradient / g.numel() for gradient in lora_gradients(x, a, b, alpha, g))


@mistake("Only the last token counts here. What the tokens pull is added up: `+=` in the loop, not `=`.")
def last_token_alone(x, a, b, alpha, g):
    return lora_gradients(x[-1:], a, b, alpha, g[-1:])


@mistake(
    "The tokens are added up too early, inputs and gradients each by themselves, so every token pulls with the inputs "
    "of all. Multiply for each token first, and add the products up."
)
def sums_multiplied(x, a, b, alpha, g):
    return lora_gradients(x.sum(0, keepdim=True), a, b, alpha, g.sum(0, keepdim=True))


@mistake("alpha is multiplied by the rank. Divide it: the factor is alpha / rank.")
def times_the_rank(x, a, b, alpha, g):
    return lora_gradients(x, a, b, alpha * len(a) ** 2, g)


SCALED_TWICE = (
    "alpha / rank is in one of these gradients twice. It stands once in front of B A, so once in each of them."
)


@mistake(SCALED_TWICE)
def first_scaled_twice(x, a, b, alpha, g):
    of_a, of_b = lora_gradients(x, a, b, alpha, g)
    return of_a * alpha / a.shape[0], of_b


@mistake(SCALED_TWICE)
def second_scaled_twice(x, a, b, alpha, g):
    of_a, of_b = lora_gradients(x, a, b, alpha, g)
    return of_a, of_b * alpha / a.shape[0]


EXERCISE = Exercise(
    id="lora_gradients",
    title="Where may A and B begin?",
    points=2,
    minutes=12,
    difficulty=3,
    kind="derive",
    hints=(
        "Take one token, and write s for alpha / rank. Output i is s times the sum over j of `b[i, j]` times (A "
        "x)[j]. If `b[i, j]` rises, output i alone changes, by s (A x)[j]. If `a[j, k]` rises, every output i "
        "changes: by how much?",
        "For one token the gradient with respect to `b[i, j]` is s g[i] (A x)[j], and with respect to `a[j, k]` it is "
        "s x[k] times the sum over i of g[i] `b[i, j]`. To add up over the tokens is a product of matrices: which one "
        "has its tokens in the rows and which in the columns, so that the shape comes out right?",
    ),
    reference=lora_gradients,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Two thin matrices",
)

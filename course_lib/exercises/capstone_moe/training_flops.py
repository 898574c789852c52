"""How many floating-point operations a training run takes: the first line of every plan."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def training_flops(n_active, n_layers, d_model, context, tokens):
    matrices = 2 * n_active
    attention = n_layers * 2 * (2 * context * d_model)
    return 3 * (matrices + attention) * tokens


def cases(rng):
    def some(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def run(n_layers, parameters=1000, tokens=100):
        sizes = some(30, 200), some(60, 300)
        return (some(parameters, 100 * parameters), n_layers, *sizes, some(tokens, 100 * tokens) * 1000)

    return [
        Case("one token by hand", (10, 1, 2, 3, 1), expected=132),
        Case("two layers by hand", (100, 2, 4, 8, 10), expected=13_680),
        # The parameters of its matrices and its training tokens: Brown et al. 2020, tables 2.1 and D.1.
        Case("of the size of GPT-3", (175_000_000_000, 96, 12288, 2048, 300_000_000_000)),
        Case("a model without attention", run(0)),
        Case("a small model of three layers", run(3)),
        Case("a larger model", run(some(5, 12), 100_000, 10_000)),
    ]


@alternative
def the_usual_formula(n_active, n_layers, d_model, context, tokens):
    return (6 * n_active + 12 * n_layers * d_model * context) * tokens


@alternative
def forward_and_backward(n_active, n_layers, d_model, context, tokens):
    forward = 0
    for _ in range(n_layers):
        scores = 2 * context * d_model
        mixing = 2 * d_model * context
        forward += scores + mixing
    forward += 2 * n_active
    backward = 2 * forward
    return tokens * (forward + backward)


def counted(n_active, n_layers, d_model, context, tokens, passes=3, each=2, products=2):
    """The count with another number of passes, of operations for a parameter, or of products in attention."""
    return passes * each * (n_active + n_layers * products * context * d_model) * tokens


@mistake("This is the forward pass alone. The backward pass costs about two more of the same size.")
def only_forward(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, n_layers, d_model, context, tokens, passes=1)


@mistake(
    "This counts two passes: forward and backward once each, or the backward pass alone. The backward pass has two "
    "products for each one of the forward pass, so there are three in all."
)
def backward_once(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, n_layers, d_model, context, tokens, passes=2)


@mistake("A parameter takes two operations, a multiplication and an addition. Here each counts as one.")
def one_operation(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, n_layers, d_model, context, tokens, each=1)


@mistake(
    "Half of attention is missing: either one of its two products (query times key, weights times value), or what the "
    "causal mask hides. Both products count, over all `context` keys, since they are computed before the mask."
)
def one_product(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, n_layers, d_model, context, tokens, products=1)


@mistake(
    "Attention itself is missing. Its two products have no parameters of their own, so 6 operations for each parameter "
    "leave them out."
)
def no_attention(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, 0, d_model, context, tokens)


@mistake("This is the cost of one token. A run reads `tokens` of them.")
def one_token(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, n_layers, d_model, context, 1)


@mistake(
    "This multiplies by the number of windows, `tokens / context`. What was counted before is one *token*, so multiply "
    "by `tokens`."
)
def windows_of_tokens(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, n_layers, d_model, context, tokens // context)


@mistake("Attention is counted in one layer alone. Each of the n_layers has its own.")
def attention_in_one_layer(n_active, n_layers, d_model, context, tokens):
    return counted(n_active, 1, d_model, context, tokens)


@mistake("The layers multiply everything here. `n_active` holds the parameters of all layers already.")
def layers_twice(n_active, n_layers, d_model, context, tokens):
    return n_layers * counted(n_active, 1, d_model, context, tokens)


@mistake(
    "The square of the context is what a whole window costs. One token is compared with `context` keys; multiply by "
    "the number of tokens, which is done already."
)
def square_for_each_token(n_active, n_layers, d_model, context, tokens):
    return 3 * (2 * n_active + n_layers * 4 * context**2 * d_model) * tokens


@mistake("The attention is not multiplied by 3: its products too have a backward pass.")
def attention_without_backward(n_active, n_layers, d_model, context, tokens):
    return (6 * n_active + 4 * n_layers * context * d_model) * tokens


EXERCISE = Exercise(
    id="training_flops",
    title="The cost of a run",
    points=2,
    minutes=10,
    difficulty=2,
    kind="derive",
    hints=(
        "Count one token's forward pass first: two operations for each of its parameters, and in each layer the "
        "two products of attention. Then three passes of that size, and all tokens.",
        "Of the forward pass of one token, each parameter takes 2. A product of attention multiplies a vector of "
        "d_model numbers with `context` others: how many operations is that, how many such products has a layer, "
        "and how many layers are there? The backward pass costs twice the forward pass.",
    ),
    reference=training_flops,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Capstone, The plan",
)

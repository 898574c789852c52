"""Exercises of the lab ch02_layers: the parts of a layer."""

import torch

from course_lib.exercises.spec import Case, Exercise, call_and_differentiate, told

SEE = "Chapter 2, What a layer is made of"


def _normal(rng, *shape):
    return torch.randn(*shape, generator=rng)


def layer_norm(x, gain, bias, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / (variance + eps).sqrt() * gain + bias


class _WrongNorm:
    """Known mistakes: the docstring of each wrong version, here and below, is what its author is told."""

    def unbiased(x, gain, bias, eps=1e-5):
        """The variance is divided by n - 1 (torch.var does so unless told `correction=0`). Here it describes these
        numbers, it does not estimate others: divide by n."""
        centred = x - x.mean(-1, keepdim=True)
        return centred / (x.var(-1, keepdim=True) + eps).sqrt() * gain + bias

    def no_mean(x, gain, bias, eps=1e-5):
        """The mean is not taken off. Without it this is RMSNorm, with which many newer models get by."""
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias

    def wrong_axis(x, gain, bias, eps=1e-5):
        """This normalises over the tokens. Each token is normalised by itself, over its features: the last axis."""
        centred = x - x.mean(-2, keepdim=True)
        return centred / (centred.square().mean(-2, keepdim=True) + eps).sqrt() * gain + bias

    def everything(x, gain, bias, eps=1e-5):
        """This takes one mean and one variance for all numbers together. Each token has its own."""
        return (x - x.mean()) / (x.var(correction=0) + eps).sqrt() * gain + bias

    def by_variance(x, gain, bias, eps=1e-5):
        """This divides by the variance; divide by its square root, which has the size of the numbers themselves."""
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + eps) * gain + bias

    def eps_outside(x, gain, bias, eps=1e-5):
        """eps is added after the square root. It belongs under it, beside the variance: the last case, where all
        numbers of a token are nearly alike, shows the difference."""
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True).sqrt() + eps) * gain + bias

    def no_eps(x, gain, bias, eps=1e-5):
        """eps is left out. It keeps a token whose numbers are all alike from being divided by zero: add it to the
        variance, under the root."""
        return layer_norm(x, gain, bias, eps=0.0)

    def fixed_eps(x, gain, bias, eps=1e-5):
        """This always adds 1e-5. `eps` is an argument: add the one that was given."""
        return layer_norm(x, gain, bias)

    def bias_first(x, gain, bias, eps=1e-5):
        """The bias is added before the gain multiplies; it comes last."""
        return (layer_norm(x, torch.ones_like(gain), torch.zeros_like(bias), eps) + bias) * gain


def _norm_cases(rng):
    def case(name, *shape, size=1.0, shift=0.0, **eps):
        gain, bias = 1 + 0.5 * _normal(rng, shape[-1]), _normal(rng, shape[-1])
        return Case(name, (shift + size * _normal(rng, *shape), gain, bias), eps)

    return [
        case("3 tokens of 8 features", 3, 8),
        case("a batch of 2 texts", 2, 4, 6),
        case("large numbers, far from zero", 2, 3, 16, size=20.0, shift=50.0),
        case("eps=0.1", 2, 5, eps=0.1),
        case("numbers that are nearly alike", 2, 8, size=0.003),
    ]


def rank_residual(x):
    centred = x - x.mean(dim=0, keepdim=True)
    return centred.norm() / x.norm()


class _WrongResidual:
    def over_features(x):
        """This takes off each token's own mean. What is left must be the difference between the tokens: take off the
        mean over the tokens, the rows."""
        return (x - x.mean(1, keepdim=True)).norm() / x.norm()

    def one_number(x):
        """This takes off one number, the mean of the whole table. Take off a row, the mean over the tokens:
        `x.mean(dim=0)`."""
        return (x - x.mean()).norm() / x.norm()

    def absolute(x):
        """This is not divided by the size of x, so it shrinks whenever x does, and says nothing about likeness."""
        return (x - x.mean(0)).norm()

    def squared(x):
        """This is the square of the right answer: take the root of the sums of squares."""
        return ((x - x.mean(0)).norm() / x.norm()).square()

    def complement(x):
        """This is the size of what the tokens have in common, their mean; return the size of what is left."""
        return x.mean(0).norm() * x.shape[0] ** 0.5 / x.norm()

    def mean_of_rows(x):
        """This averages a ratio over the tokens. Sum the squares of all differences, and of all numbers, and divide
        once."""
        return ((x - x.mean(0)).norm(dim=1) / x.norm(dim=1)).mean()

    def first_row(x):
        """This takes the first token off all of them. Take off the mean, the row that is nearest to all."""
        return (x - x[:1]).norm() / x.norm()

    def by_the_mean(x):
        """This divides by the size of the mean. Divide by that of x, so that the result cannot exceed 1."""
        return (x - x.mean(0)).norm() / x.mean(0).norm()


def _residual_cases(rng):
    common = _normal(rng, 6)
    return [
        Case("5 random tokens", (_normal(rng, 5, 7),)),
        Case("tokens that are much alike", (common + 0.1 * _normal(rng, 4, 6),)),
        Case("two opposite tokens: their mean is zero", (torch.stack([common, -common]),), expected=torch.tensor(1.0)),
        Case("large numbers", (300 * _normal(rng, 3, 4) + 200,)),
    ]


def memories(x, keys, bias, values):
    matches = torch.relu(x @ keys.T + bias)
    return matches[..., None] * values


class _WrongMemories:
    def summed(x, keys, bias, values):
        """This is already the sum over the memories, the output of the network. Return the parts, one for each memory:
        shape (tokens, memories, outputs)."""
        return memories(x, keys, bias, values).sum(-2)

    def no_relu(x, keys, bias, values):
        """Without relu a memory that does not match would be subtracted: set negative matches to zero."""
        return (x @ keys.T + bias)[..., None] * values

    def relu_late(x, keys, bias, values):
        """relu comes after the values here, and takes away what they would subtract. It belongs to the match alone: a
        match is not negative, a value may be."""
        return torch.relu((x @ keys.T + bias)[..., None] * values)

    def no_bias(x, keys, bias, values):
        """The bias is missing. It says how good a match must be for the memory to speak at all."""
        return torch.relu(x @ keys.T)[..., None] * values

    def bias_late(x, keys, bias, values):
        """The bias is added after relu; it belongs to the match, before."""
        return (torch.relu(x @ keys.T) + bias)[..., None] * values

    def softmax(x, keys, bias, values):
        """This makes the matches compete in a softmax, which is attention. In a feed-forward network each memory
        answers for itself: relu."""
        return (x @ keys.T + bias).softmax(-1)[..., None] * values

    def smooth(x, keys, bias, values):
        """This is gelu, a relu with a rounded corner. This network has relu itself: nothing below 0 passes."""
        return torch.nn.functional.gelu(x @ keys.T + bias)[..., None] * values


def _memory_cases(rng):
    def case(name, tokens, d_model, d_ff):
        keys, values = _normal(rng, d_ff, d_model), _normal(rng, d_ff, d_model)
        return Case(name, (_normal(rng, tokens, d_model), keys, _normal(rng, d_ff), values))

    return [case("3 tokens, 5 memories", 3, 4, 5), case("one token", 1, 3, 7), case("6 tokens, 2 memories", 6, 5, 2)]


def layer_parameters(d_model, d_ff):
    return {
        "attention": 4 * (d_model * d_model + d_model),
        "feed_forward": d_model * d_ff + d_ff + d_ff * d_model + d_model,
        "norms": 2 * 2 * d_model,
    }


class _WrongCount:
    def no_bias(d_model, d_ff):
        """The biases are missing: a linear layer from m to n numbers has m * n weights and n biases."""
        return {"attention": 4 * d_model**2, "feed_forward": 2 * d_model * d_ff, "norms": 4 * d_model}

    def no_output(d_model, d_ff):
        """Attention has four matrices: queries, keys, values, and the one that mixes the heads' results."""
        return layer_parameters(d_model, d_ff) | {"attention": 3 * (d_model**2 + d_model)}

    def one_norm(d_model, d_ff):
        """There are two norms, one before each half, and each has a gain and a bias."""
        return layer_parameters(d_model, d_ff) | {"norms": 2 * d_model}

    def one_way(d_model, d_ff):
        """The feed-forward network goes up and comes down again: two matrices."""
        return layer_parameters(d_model, d_ff) | {"feed_forward": d_model * d_ff + d_ff}

    def always_four_times(d_model, d_ff):
        """The feed-forward network is d_ff wide inside, and that need not be four times d_model."""
        return layer_parameters(d_model, 4 * d_model)


def _count_cases(rng):
    d_model, d_ff = (int(torch.randint(5, 200, (), generator=rng)) for _ in range(2))
    return [
        Case("d_model 4, d_ff 16", (4, 16)),
        Case("as in BERT: d_model 768, d_ff 3072", (768, 3072)),
        Case(f"d_model {d_model}, d_ff {d_ff}", (d_model, d_ff)),
    ]


EXERCISES = [
    Exercise(
        id="rank_residual",
        title="How much do the tokens differ?",
        points=2,
        minutes=8,
        difficulty=1,
        hints=(
            "The mean of all rows is one row: over which dimension? Take it off every row, and compare sizes.",
            "`(x - x.mean(dim=0)).norm() / x.norm()`",
        ),
        reference=rank_residual,
        cases=_residual_cases,
        mistakes=told(_WrongResidual),
        see=SEE,
    ),
    Exercise(
        id="layer_norm",
        title="Layer normalisation",
        points=2,
        minutes=10,
        difficulty=1,
        hints=(
            "Mean and variance over the last axis, with keepdim=True so that they fit. Which n divides the variance?",
            "`centred = x - x.mean(-1, keepdim=True)`, `variance = centred.square().mean(-1, keepdim=True)`, then "
            "divide by `(variance + eps).sqrt()`, times gain, plus bias.",
        ),
        reference=layer_norm,
        cases=_norm_cases,
        run_case=call_and_differentiate,
        mistakes=told(_WrongNorm),
        see=SEE,
        avoid=("F.layer_norm", "torch.layer_norm", "nn.LayerNorm"),
        # Numbers near 50 are rounded to 4e-6, which the division by a spread of 20 does not undo in the gradients.
        rtol=1e-4,
        atol=1e-4,
    ),
    Exercise(
        id="layer_parameters",
        title="Where are the parameters?",
        points=1,
        minutes=6,
        difficulty=1,
        hints=(
            "A linear layer from m to n numbers has m * n + n parameters. How many linear layers has attention?",
            "attention: four of d_model to d_model; feed-forward: d_model to d_ff and back; norms: two, with a gain "
            "and a bias of d_model each.",
        ),
        reference=layer_parameters,
        cases=_count_cases,
        mistakes=told(_WrongCount),
        see=SEE,
    ),
    Exercise(
        id="memories",
        title="A feed-forward network as a memory",
        points=3,
        minutes=12,
        difficulty=2,
        hints=(
            "How well does each token match each key? One matrix product. Then each match multiplies its value.",
            "`matches = torch.relu(x @ keys.T + bias)`, shape (tokens, memories); then `matches[..., None] * values`.",
        ),
        reference=memories,
        cases=_memory_cases,
        run_case=call_and_differentiate,
        mistakes=told(_WrongMemories),
        see=SEE,
    ),
]

"""A feed-forward network as a memory: each key that matches a token adds its value."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def memories(x, keys, bias, values):
    matches = torch.relu(x @ keys.T + bias)
    return matches[..., None] * values


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, tokens, d_model, d_ff):
        keys, values = normal(d_ff, d_model), normal(d_ff, d_model)
        return Case(name, (normal(tokens, d_model), keys, normal(d_ff), values))

    return [case("3 tokens, 5 memories", 3, 4, 5), case("one token", 1, 3, 7), case("6 tokens, 2 memories", 6, 5, 2)]


def run_case(subject, x, keys, bias, values):
    """The values alone. The arguments want gradients, as do the weights in the lab, which NumPy therefore refuses."""
    return subject.gradients(x, keys, bias, values)["output"]


@alternative
def by_einsum(x, keys, bias, values):
    return torch.einsum("tm,md->tmd", (torch.einsum("td,md->tm", x, keys) + bias).clamp(min=0), values)


@alternative
def one_by_one(x, keys, bias, values):
    parts = [torch.outer(torch.relu(x @ k + b), v) for k, b, v in zip(keys, bias, values, strict=True)]
    return torch.stack(parts, dim=1)


@alternative
def number_by_number(x, keys, bias, values):
    """Nothing is trained through it, so a number may leave its tensor."""
    parts = torch.zeros(len(x), len(keys), values.shape[1])
    for t, token in enumerate(x):
        for m, key in enumerate(keys):
            parts[t, m] = max(0.0, (token @ key + bias[m]).item()) * values[m]
    return parts


@mistake(
    "This is already the sum over the memories, the output of the network. Return the parts, one for each memory: "
    "shape (tokens, memories, outputs)."
)
def summed(x, keys, bias, values):
    return memories(x, keys, bias, values).sum(-2)


@mistake("Without relu a memory that does not match would be subtracted: set negative matches to zero.")
def no_relu(x, keys, bias, values):
    return (x @ keys.T + bias)[..., None] * values


@mistake(
    "relu comes after the values here, and takes away what they would subtract. It belongs to the match alone: a match "
    "is not negative, a value may be."
)
def relu_after_the_values(x, keys, bias, values):
    return torch.relu((x @ keys.T + bias)[..., None] * values)


@mistake("The bias is missing. It says how good a match must be for the memory to speak at all.")
def no_bias(x, keys, bias, values):
    return torch.relu(x @ keys.T)[..., None] * values


@mistake("The bias is added after relu; it belongs to the match, before.")
def bias_after_relu(x, keys, bias, values):
    return (torch.relu(x @ keys.T) + bias)[..., None] * values


@mistake(
    "This makes the matches compete in a softmax, which is attention. In a feed-forward network each memory answers "
    "for itself: relu."
)
def softmax_of_the_matches(x, keys, bias, values):
    return (x @ keys.T + bias).softmax(-1)[..., None] * values


@mistake("This is gelu, a relu with a rounded corner. This network has relu itself: nothing below 0 passes.")
def gelu(x, keys, bias, values):
    return torch.nn.functional.gelu(x @ keys.T + bias)[..., None] * values


EXERCISE = Exercise(
    id="memories",
    title="A feed-forward network as a memory",
    points=3,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "How well does each token match each key? One matrix product. Then each match multiplies its value.",
        "`matches = torch.relu(x @ keys.T + bias)`, shape (tokens, memories); then `matches[..., None] * values`.",
    ),
    reference=memories,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, The feed-forward network as a memory",
)

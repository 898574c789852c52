"""A feed-forward network as a memory: each key that matches a token adds its value."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def memories(x, keys, bias, values):
    matches = torch.relu(x @ keys.T + bias)
    return matches[..., None] * values


def cases(rng):
    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def case(name, tokens, features, memories, outputs):
        keys, values = normal(memories, features), normal(memories, outputs)
        return Case(name, (normal(tokens, features), keys, normal(memories), values))

    return [
        case("3 tokens, 5 memories", 3, 4, 5, 4),
        case("one token", 1, 3, 7, 3),
        case("6 tokens, 2 memories", 6, 5, 2, 5),
        case("more outputs than features", 4, 3, 6, 8),
    ]


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


def parts(matches, values):
    return matches[..., None] * values


@mistake("relu is applied to the tokens here. It belongs to the match: what is below 0 there is no match.")
def relu_of_the_tokens(x, keys, bias, values):
    return parts(torch.relu(x) @ keys.T + bias, values)


@mistake("A negative match counts as a positive one here, `abs`. It is no match: relu makes it 0.")
def absolute_matches(x, keys, bias, values):
    return parts((x @ keys.T + bias).abs(), values)


@mistake("The bias is subtracted. Add it: it is negative where a match has to be good.")
def bias_subtracted(x, keys, bias, values):
    return parts(torch.relu(x @ keys.T - bias), values)


@mistake("This is a sigmoid. This network has relu: nothing below 0 passes, and all above it as it is.")
def sigmoid(x, keys, bias, values):
    return parts(torch.sigmoid(x @ keys.T + bias), values)


@mistake("Each match is 0 or 1 here. relu keeps how good it is: `max(0, match)`.")
def yes_or_no(x, keys, bias, values):
    return parts((x @ keys.T + bias > 0).float(), values)


@mistake("The order of the axes is tokens, memories, outputs: bring the tokens to the front.")
def memories_first(x, keys, bias, values):
    return memories(x, keys, bias, values).transpose(0, 1)


@mistake("The order of the axes is tokens, memories, outputs: the memories come before the outputs.")
def memories_last(x, keys, bias, values):
    return memories(x, keys, bias, values).transpose(1, 2)


@mistake("The bias is added to the values. It belongs to the match, before relu.")
def bias_of_the_values(x, keys, bias, values):
    return parts(torch.relu(x @ keys.T), values) + bias[:, None]


@mistake("The matches are divided by the square root of the width, as in attention. This network has no such scale.")
def scaled(x, keys, bias, values):
    return parts(torch.relu(x @ keys.T / x.shape[1] ** 0.5 + bias), values)


@mistake("These are the matches, and they are right. One step more: each of them multiplies the value of its memory.")
def matches_alone(x, keys, bias, values):
    return torch.relu(x @ keys.T + bias)


@mistake(
    "Only the first token is filled in. Is the `return` inside the loop? Then the function ends in its first round: "
    "move it to the left, under the `for`."
)
def first_token_alone(x, keys, bias, values):
    first = torch.arange(len(x))[:, None, None] == 0
    return torch.where(first, memories(x, keys, bias, values), 0.0)


@mistake("Keys and values are exchanged: a token is compared with the keys, and what is added are the values.")
def keys_and_values_exchanged(x, keys, bias, values):
    return memories(x, values, bias, keys)


@mistake("Only what is below 0 passes here. relu lets pass what is above: `max(0, match)`.")
def what_is_below_0(x, keys, bias, values):
    return parts((x @ keys.T + bias).clamp(max=0), values)


EXERCISE = Exercise(
    id="memories",
    title="A feed-forward network as a memory",
    points=3,
    minutes=12,
    difficulty=2,
    kind="code",
    hints=(
        "How well does each token match each key? One matrix product. Then each match multiplies its value.",
        "`x @ keys.T` has a match for each token and each memory, (tokens, memories). With the bias, and nothing below "
        "0, each of them multiplies a whole value: `[..., None]` gives them one more axis, at the end.",
    ),
    reference=memories,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, The feed-forward network as a memory",
)

"""The best policy at a given price of distance: the reference, tilted by the rewards (Rafailov et al. 2023, eq. 4)."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def best_policy(reference, rewards, beta):
    return (reference + rewards / beta).log_softmax(dim=-1)


def cases(rng):
    def policy(*shape):
        return torch.randn(*shape, generator=rng).log_softmax(-1)

    half = torch.tensor([0.5, 0.5]).log()
    return [
        Case("two replies, one of them worth 1, at a price of 1", (half, torch.tensor([0.0, 1.0]), 1.0)),
        Case("5 replies, a price of 0.5", (policy(5), torch.randn(5, generator=rng), 0.5)),
        Case("3 prompts with 6 replies each", (policy(3, 6), 2 * torch.randn(3, 6, generator=rng), 2.0)),
        Case("large rewards and a low price", (policy(2, 4), 100 * torch.rand(2, 4, generator=rng), 0.25), atol=1e-3),
    ]


@alternative
def by_logsumexp(reference, rewards, beta):
    tilted = reference + rewards / beta
    return tilted - tilted.logsumexp(dim=-1, keepdim=True)


@alternative
def by_probabilities(reference, rewards, beta):
    raised = (rewards - rewards.amax(dim=-1, keepdim=True)) / beta
    return reference + raised - torch.log((reference.exp() * raised.exp()).sum(dim=-1, keepdim=True))


def divide_by_the_sum(weights):
    return weights / weights.sum(-1, keepdim=True)


@alternative
def prompt_by_prompt(reference, rewards, beta):
    rows = []
    for log_p, r in zip(reference.view(-1, reference.shape[-1]), rewards.view(-1, rewards.shape[-1]), strict=True):
        tilted = log_p + r / beta
        highest = tilted.max()
        rows.append(tilted - highest - (tilted - highest).exp().sum().log())
    return torch.stack(rows).view_as(reference)


@mistake(
    "The rewards are multiplied by beta. beta is the price of moving away from the reference: the higher it is, the "
    "less the policy should move. Divide the rewards by it."
)
def multiplied_by_beta(reference, rewards, beta):
    return (reference + rewards * beta).log_softmax(-1)


@mistake(
    "The reference is missing: this policy goes by the rewards alone, as if all replies had been equally likely to "
    "begin with. Add `reference` to rewards / beta."
)
def no_reference(reference, rewards, beta):
    return (rewards / beta).log_softmax(-1)


@mistake(
    "These probabilities do not add up to 1. Subtract the logarithm of their sum, which is what `log_softmax` does."
)
def not_normalised(reference, rewards, beta):
    return reference + rewards / beta


@mistake("These are probabilities; return their logarithms (`log_softmax` in place of `softmax`).")
def probabilities(reference, rewards, beta):
    return (reference + rewards / beta).softmax(-1)


@mistake(
    "r / beta is added to the probabilities of the reference. It is exp(r / beta) that multiplies these "
    "probabilities, so r / beta is added to their logarithms, which `reference` already holds."
)
def added_to_probabilities(reference, rewards, beta):
    return (reference.exp() + rewards / beta).log_softmax(-1)


@mistake(
    "`reference` is multiplied by exp(r / beta) as if it held probabilities. It holds their logarithms: add r / beta "
    "to them."
)
def logarithms_multiplied(reference, rewards, beta):
    return divide_by_the_sum(reference * (rewards / beta).exp()).log()


@mistake(
    "The probabilities add up to 1 along the first axis. The replies to one prompt are along the last axis: normalise "
    "over `dim=-1`."
)
def over_the_first_axis(reference, rewards, beta):
    return (reference + rewards / beta).log_softmax(0)


@mistake(
    "Right on paper. But where r / beta is large, its exponential is too large for a float: add the logarithms, and "
    "normalise with `log_softmax`."
)
def overflows(reference, rewards, beta):
    return divide_by_the_sum(reference.exp() * (rewards / beta).exp()).log()


@mistake(
    "The probabilities of all prompts together add up to 1. Each prompt has a policy of its own: normalise over the "
    "last axis alone, `dim=-1`."
)
def over_all_prompts(reference, rewards, beta):
    return (reference + rewards / beta).flatten().log_softmax(0).view_as(reference)


@mistake(
    "The sum of the probabilities is subtracted. To divide by a sum is to subtract its *logarithm*, which is what "
    "`log_softmax` does."
)
def sum_subtracted(reference, rewards, beta):
    tilted = reference + rewards / beta
    return tilted - tilted.exp().sum(-1, keepdim=True)


@mistake("beta is missing. It is the price of moving away from the reference: divide the rewards by it.")
def no_beta(reference, rewards, beta):
    return (reference + rewards).log_softmax(-1)


@mistake(
    "The reference is divided by beta as well. The price belongs to the rewards alone: reference + rewards / beta."
)
def reference_divided_too(reference, rewards, beta):
    return ((reference + rewards) / beta).log_softmax(-1)


@mistake(
    "beta multiplies the reference, in place of dividing the rewards. Its exponent is r / beta: divide the rewards."
)
def reference_times_beta(reference, rewards, beta):
    return (beta * reference + rewards).log_softmax(-1)


@mistake(
    "The rewards lower the probabilities here. A reply with a higher reward has to become likelier: add rewards / beta."
)
def rewards_subtracted(reference, rewards, beta):
    return (reference - rewards / beta).log_softmax(-1)


@mistake(
    "The logarithms are multiplied by each other. It is probabilities that are multiplied, and to multiply them is to "
    "*add* their logarithms."
)
def multiplied(reference, rewards, beta):
    return (reference * rewards / beta).log_softmax(-1)


@mistake(
    "The logarithm is taken twice: `reference` holds logarithms already, and those are below 0. Leave it as it is."
)
def logarithm_twice(reference, rewards, beta):
    return (reference.log() + rewards / beta).log_softmax(-1)


@mistake(
    "The rewards are normalised by themselves, and then the reference is added. Add first, and normalise the sum: only "
    "then do the probabilities of pi* sum to 1."
)
def normalised_too_early(reference, rewards, beta):
    return reference + (rewards / beta).log_softmax(-1)


@mistake(
    "exp(r / beta) is added to the logarithms. It multiplies the probabilities, and its logarithm is r / beta: add "
    "that."
)
def exponential_added(reference, rewards, beta):
    return (reference + (rewards / beta).exp()).log_softmax(-1)


@mistake(
    "The products of probabilities are normalised as if they were logarithms. Add the logarithms, `reference + rewards "
    "/ beta`, and give that to `log_softmax`."
)
def log_softmax_of_probabilities(reference, rewards, beta):
    return (reference.exp() * (rewards / beta).exp()).log_softmax(-1)


@mistake(
    "The mean is subtracted. The *probabilities* have to sum to 1: subtract the logarithm of the sum of exponentials, "
    "as `log_softmax` does."
)
def mean_subtracted(reference, rewards, beta):
    tilted = reference + rewards / beta
    return tilted - tilted.mean(-1, keepdim=True)


@mistake("The whole is multiplied by beta at the end. beta divides the rewards, and is nowhere else.")
def all_times_beta(reference, rewards, beta):
    return beta * (reference + rewards / beta).log_softmax(-1)


EXERCISE = Exercise(
    id="best_policy",
    title="The best policy at a price",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "The logarithm of a product is a sum of logarithms. What is left to do is to make the probabilities sum to 1.",
        "The logarithm of ref(y) exp(r / beta) is a sum of two terms, of which `reference` is one. "
        "`log_softmax(dim=-1)` makes the probabilities of such numbers sum to 1 along the last axis.",
    ),
    reference=best_policy,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Reward minus a price",
)

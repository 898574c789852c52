"""The loss of DPO: comparisons teach the policy directly, without a reward model (Rafailov et al. 2023, eq. 7)."""

import torch
import torch.nn.functional as F

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate_only,
    mistake,
    mistakes_in,
)


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -F.logsigmoid(beta * margin).mean()


def cases(rng):
    def logs(n):
        return -8 * torch.rand(n, generator=rng)

    same, beta = (logs(3), logs(3)), 0.1 + 0.2 * torch.rand((), generator=rng).item()
    return [
        Case("the policy is the reference", (*same, *same, beta)),
        Case("5 comparisons", (logs(5), logs(5), logs(5), logs(5), 0.5)),
        Case("8 comparisons, a large beta", (logs(8), logs(8), logs(8), logs(8), 2.0)),
        Case("very wrong", (*torch.tensor([[-300.0], [-1.0], [-2.0], [-9.0]]), 1.0)),
    ]


@alternative
def by_softplus(chosen, rejected, reference_chosen, reference_rejected, beta):
    rewards = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    return torch.nn.functional.softplus(rewards[1] - rewards[0]).mean()


@alternative
def with_a_frozen_reference(chosen, rejected, reference_chosen, reference_rejected, beta):
    with torch.no_grad():
        before = reference_chosen - reference_rejected
    return (1 + torch.exp(beta * (before - chosen + rejected).double())).log().mean().to(chosen.dtype)


@alternative
def by_log_softmax(chosen, rejected, reference_chosen, reference_rejected, beta):
    rewards = torch.stack((chosen - reference_chosen, rejected - reference_rejected)) * beta
    return -rewards.log_softmax(dim=0)[0].mean()


def reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta):
    """By how much the policy's implied reward of the chosen reply is above that of the rejected one."""
    return beta * ((chosen - reference_chosen) - (rejected - reference_rejected))


@alternative
def comparison_by_comparison(chosen, rejected, reference_chosen, reference_rejected, beta):
    total = 0.0
    for i in range(len(chosen)):
        reward_of_chosen = beta * (chosen[i] - reference_chosen[i])
        reward_of_rejected = beta * (rejected[i] - reference_rejected[i])
        total = total - F.logsigmoid(reward_of_chosen - reward_of_rejected)
    return total / len(chosen)


@mistake(
    "The reference is missing. What counts is how much likelier a reply has become than it was under the reference, "
    "not how likely it is."
)
def no_reference(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


@mistake(
    "Chosen and rejected have changed places: a smaller loss would make the rejected replies likelier. The margin is "
    "that of the chosen reply minus that of the rejected one."
)
def exchanged(chosen, rejected, reference_chosen, reference_rejected, beta):
    return dpo_loss(rejected, chosen, reference_rejected, reference_chosen, beta)


@mistake("A minus sign is missing: a loss falls as the model gets better, so it is minus the log-sigmoid.")
def sign_flipped(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)


@mistake(
    "beta is missing. Multiply the margin by beta inside the sigmoid, which turns the margin into a difference of "
    "rewards."
)
def no_beta(chosen, rejected, reference_chosen, reference_rejected, beta):
    return dpo_loss(chosen, rejected, reference_chosen, reference_rejected, 1)


@mistake(
    "beta multiplies the whole loss. It belongs inside the sigmoid, where it turns the margin into a difference of "
    "rewards."
)
def beta_outside(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * dpo_loss(chosen, rejected, reference_chosen, reference_rejected, 1)


@mistake(
    "The margin is divided by beta. The reward that a policy implies is beta log(pi / ref): multiply the margin by it."
)
def divided_by_beta(chosen, rejected, reference_chosen, reference_rejected, beta):
    return dpo_loss(chosen, rejected, reference_chosen, reference_rejected, 1 / beta)


RATIO_OF_LOGARITHMS = (
    "This divides one logarithm by another. The arguments are logarithms already, and the logarithm of a ratio is the "
    "difference of the two: subtract them."
)


@mistake(RATIO_OF_LOGARITHMS)
def ratios_for_rewards(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -F.logsigmoid(beta * (chosen / reference_chosen - rejected / reference_rejected)).mean()


@mistake(RATIO_OF_LOGARITHMS)
def ratio_of_logarithms(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen / reference_chosen * reference_rejected / rejected).log()
    return -F.logsigmoid(beta * margin).mean()


@mistake(
    "This is the surprise at the mean probability. The mean of the surprises is asked for: take the logarithm of each "
    "probability first, then the mean."
)
def logarithm_of_the_mean(chosen, rejected, reference_chosen, reference_rejected, beta):
    difference = reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta)
    return -difference.sigmoid().mean().log()


@mistake(
    "The logarithm is missing: this is minus the mean probability of the right choice. The surprise is minus the "
    "logarithm of the probability: `-F.logsigmoid(...)`."
)
def no_logarithm(chosen, rejected, reference_chosen, reference_rejected, beta):
    difference = reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta)
    return -difference.sigmoid().mean()


@mistake("This is the sum over the comparisons; return their mean.")
def sum_instead_of_mean(chosen, rejected, reference_chosen, reference_rejected, beta):
    return dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta) * len(chosen)


@mistake(
    "Right on paper. But where the policy is very wrong the sigmoid rounds to 0, and the logarithm of 0 is infinite: "
    "`F.logsigmoid` computes both in one step, without that."
)
def sigmoid_before_logarithm(chosen, rejected, reference_chosen, reference_rejected, beta):
    difference = reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta)
    return -difference.sigmoid().log().mean()


@mistake(
    "The sign of a reference is wrong. Of the chosen reply and of the rejected one alike, its reference is subtracted: "
    "put brackets around the two differences before you subtract one from the other."
)
def no_brackets(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -F.logsigmoid(beta * (chosen - reference_chosen - rejected - reference_rejected)).mean()


@mistake(
    "The references are exchanged, or added where they should be subtracted. Each reply is compared with itself under "
    "the reference: chosen with `reference_chosen`, rejected with `reference_rejected`."
)
def references_exchanged(chosen, rejected, reference_chosen, reference_rejected, beta):
    return dpo_loss(chosen, rejected, reference_rejected, reference_chosen, beta)


@mistake("beta multiplies the first difference alone. It belongs to both rewards: multiply the whole margin by it.")
def beta_on_the_first_alone(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -F.logsigmoid(beta * (chosen - reference_chosen) - (rejected - reference_rejected)).mean()


@mistake(
    "This takes the ratios of the probabilities. The reward that a policy implies is beta times the *logarithm* of the "
    "ratio, and that is the difference of two arguments, without `exp`."
)
def ratios_of_probabilities(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen).exp() - (rejected - reference_rejected).exp()
    return -F.logsigmoid(beta * margin).mean()


@mistake(
    "This is minus the margin. It could fall for ever: take the sigmoid of the margin, which makes a probability of "
    "it, and minus its logarithm (`F.logsigmoid`)."
)
def no_sigmoid(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta).mean()


@mistake("The mean is taken too early, over the margins. Work out the loss of each comparison, then take the mean.")
def of_the_mean_margin(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -F.logsigmoid(reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta).mean())


@mistake(
    "A small constant caps the loss: where the policy is very wrong it is far less than it should be, and nothing is "
    "left to learn from. `F.logsigmoid` needs no constant."
)
def small_number_added(chosen, rejected, reference_chosen, reference_rejected, beta):
    difference = reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta)
    return -(difference.sigmoid() + 1e-8).log().mean()


@mistake(
    "Each reply has a sigmoid of its own here. What people judge is the difference of the two rewards: subtract first, "
    "and take one log-sigmoid."
)
def a_sigmoid_for_each(chosen, rejected, reference_chosen, reference_rejected, beta):
    better, worse = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    return (F.logsigmoid(worse) - F.logsigmoid(better)).mean()


@mistake(
    "This is 1 minus the probability of what was preferred. The surprise is minus the *logarithm* of the probability: "
    "`-F.logsigmoid(...)`."
)
def one_less_the_probability(chosen, rejected, reference_chosen, reference_rejected, beta):
    difference = reward_difference(chosen, rejected, reference_chosen, reference_rejected, beta)
    return (1 - difference.sigmoid()).mean()


@mistake("The rejected reply has no part in this. What people judge is the difference of the two rewards.")
def chosen_alone(chosen, rejected, reference_chosen, reference_rejected, beta):
    return -F.logsigmoid(beta * (chosen - reference_chosen)).mean()


@mistake(
    "This is the loss of the policy less that of the reference, each with a sigmoid of its own. The margin has both in "
    "it: subtract the logarithms, and take one log-sigmoid."
)
def two_losses(chosen, rejected, reference_chosen, reference_rejected, beta):
    policy, reference = chosen - rejected, reference_chosen - reference_rejected
    return (F.logsigmoid(beta * reference) - F.logsigmoid(beta * policy)).mean()


EXERCISE = Exercise(
    id="dpo_loss",
    title="Comparisons without a reward model",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "How much likelier has the chosen reply become, compared with the reference? And the rejected one? The "
        "difference of the two, times beta, is a difference of rewards.",
        "Each reply has become likelier by the factor pi / ref, and the logarithm of that is a difference of two "
        "arguments. The margin is the difference of these two differences. `F.logsigmoid` takes sigmoid and logarithm "
        "in one step.",
    ),
    reference=dpo_loss,
    cases=cases,
    run_case=call_and_differentiate_only(0, 1),  # the reference is fixed
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, DPO reads the formula backwards",
)

"""The loss of a reward model, the surprise at what people preferred (Bradley, Terry 1952); a fault in it is found."""

import torch
from torch import nn

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    call_and_differentiate,
    mistake,
    mistakes_in,
)


def bradley_terry_loss(chosen, rejected):
    return -nn.functional.logsigmoid(chosen - rejected).mean()


def cases(rng):
    def ahead(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=rng)

    chosen, rejected = torch.randn(2, 6, generator=rng)
    far = ahead(120, 300, 4)
    return [
        Case("equal rewards", (torch.tensor([1.0, -2.0]), torch.tensor([1.0, -2.0]))),
        Case("rewards 200 apart, both ways", (torch.tensor([200.0, 0.0]), torch.tensor([0.0, 200.0]))),
        Case("8 pairs", (torch.randn(8, generator=rng), torch.randn(8, generator=rng))),
        Case("one pair, the rejected text 20 to 60 ahead", (torch.randn(1, generator=rng), ahead(20, 60, 1))),
        Case(
            "6 pairs, in two of them the rejected text 20 to 60 ahead",
            (chosen, rejected + torch.cat([ahead(20, 60, 2), torch.zeros(4)])),
        ),
        Case(
            "4 pairs, 120 to 300 apart, both ways", (far * torch.tensor([1, 0, 0, 1]), far * torch.tensor([0, 1, 1, 0]))
        ),
    ]


def remark(answer, right):
    """A loss that something has capped is told here: everybody chooses another limit."""
    loss, right = answer["output"], right["output"]
    if right > 50 and getattr(loss, "shape", None) == () and 1 < loss < 0.5 * right:
        return (
            f"the loss cannot get larger than it is here (about {loss:.3g}). Is a small constant added to the "
            "probability, or is something clamped? Where it cuts, the gradient is 0. `nn.functional.logsigmoid` needs "
            "no such help."
        )
    return None


@alternative
def by_logaddexp(chosen, rejected):
    return (torch.logaddexp(chosen, rejected) - chosen).mean()


@alternative
def by_softplus(chosen, rejected):
    return nn.functional.softplus(rejected - chosen).sum() / len(chosen)


@alternative
def by_cross_entropy(chosen, rejected):
    first = torch.zeros(len(chosen), dtype=torch.long, device=chosen.device)
    return nn.functional.cross_entropy(torch.stack([chosen, rejected], dim=1), first)


@alternative
def pair_by_pair(chosen, rejected):
    total = 0.0
    for winner, loser in zip(chosen, rejected, strict=True):
        total = total - nn.functional.logsigmoid(winner - loser)
    return total / len(chosen)


@mistake(
    "The fault is still there. Where the probability is far below the small constant, the loss is the logarithm of "
    "this constant, whatever the rewards are. So its gradient is 0, and nothing is learned where the model is most "
    "wrong. Leave the constant out, and find a way that needs none.",
    given=True,
)
def probability_cut(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected).clamp(min=1e-6)).mean()


@mistake(
    "This rewards the model for preferring the rejected reply. The difference inside the sigmoid is chosen - rejected."
)
def other_way_round(chosen, rejected):
    return bradley_terry_loss(rejected, chosen)


@mistake("This is the sum over the pairs; return their mean.")
def sum_instead_of_mean(chosen, rejected):
    return bradley_terry_loss(chosen, rejected) * len(chosen)


@mistake("The minus sign is missing. A loss falls when things get better, so it is minus the log-sigmoid.")
def sign_flipped(chosen, rejected):
    return -bradley_terry_loss(chosen, rejected)


@mistake(
    "This is 1 minus the probability of what people chose. The loss is the surprise at it: minus the *logarithm* of "
    "the probability."
)
def no_logarithm(chosen, rejected):
    return (1 - torch.sigmoid(chosen - rejected)).mean()


@mistake(
    "This is the difference of the rewards alone, which is no probability. Take minus the logarithm of its *sigmoid*."
)
def no_sigmoid(chosen, rejected):
    return (rejected - chosen).mean()


@mistake(
    "Right on paper. But the exponential of a reward of 200 is infinite in float32. `nn.functional.logsigmoid` of the "
    "difference needs no such exponential."
)
def ratio_of_exponentials(chosen, rejected):
    return -torch.log(chosen.exp() / (chosen.exp() + rejected.exp())).mean()


@mistake(
    "Right on paper. But at a difference of -200 the sigmoid rounds to 0 (or, written as `log(1 + exp(...))`, the "
    "exponential to infinity), and the logarithm of that is infinite. `nn.functional.logsigmoid` computes both in one "
    "step, without that."
)
def sigmoid_before_logarithm(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected)).mean()


@mistake("This is minus the probability of what people chose. The loss is minus its *logarithm*.")
def probability(chosen, rejected):
    return -torch.sigmoid(chosen - rejected).mean()


@mistake("The mean is taken too early, over the differences. Work out the loss of each pair, then take the mean.")
def of_the_mean_difference(chosen, rejected):
    return bradley_terry_loss(chosen.mean(), rejected.mean())


@mistake("The mean is taken too early, over the probabilities: take the logarithm of each pair's first, then the mean.")
def logarithm_of_the_mean(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected).mean())


@mistake(
    "Another small constant moves the fault, and does not mend it. At a difference of -200 the loss should be 200; "
    "with a constant it is far less, and no gradient is left to learn from. `nn.functional.logsigmoid` needs none."
)
def small_number_added(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected) + 1e-8).mean()


@mistake(
    "Now the difference is cut in the place of the probability. Beyond the limit the loss stays the same, so its "
    "gradient is 0, and nothing is learned. `nn.functional.logsigmoid` takes the whole difference."
)
def difference_cut(chosen, rejected):
    return -nn.functional.logsigmoid((chosen - rejected).clamp(min=-20)).mean()


@mistake(
    "Each reward has a sigmoid of its own here. Only the difference of the two is what people have judged: subtract "
    "first, and take one sigmoid."
)
def a_sigmoid_for_each(chosen, rejected):
    return (nn.functional.logsigmoid(rejected) - nn.functional.logsigmoid(chosen)).mean()


@mistake("This is in bits. Take the natural logarithm, which `nn.functional.logsigmoid` has: divide by nothing.")
def in_bits(chosen, rejected):
    return bradley_terry_loss(chosen, rejected) / torch.tensor(2.0).log()


@mistake(
    "Two signs are wrong: the minus sign in front is missing, and the difference is the other way round. The two do "
    "not make up for each other, since a loss is above 0."
)
def sign_flipped_and_exchanged(chosen, rejected):
    return nn.functional.logsigmoid(rejected - chosen).mean()


@mistake(
    "This is the square of 1 minus the probability. The loss is the surprise at what people chose: minus the "
    "*logarithm* of the probability. Where the model is most wrong, the square has no gradient left."
)
def squared_error(chosen, rejected):
    return (1 - torch.sigmoid(chosen - rejected)).square().mean()


@mistake(
    "This is a hinge: 1 minus the difference, and 0 where that is below 0. The loss is minus the log-sigmoid of the "
    "difference, which has no edge."
)
def hinge(chosen, rejected):
    return (1 - (chosen - rejected)).relu().mean()


@mistake("The sign of the difference is lost, so a pair the wrong way round costs nothing. Take no `abs`.")
def absolute_difference(chosen, rejected):
    return bradley_terry_loss((chosen - rejected).abs(), torch.zeros_like(rejected))


@mistake(
    "The pairs are compared with each other: the softmax runs along the batch. Each pair is a choice of its own, "
    "between its chosen and its rejected text: the axis along which you stacked the two."
)
def softmax_over_the_pairs(chosen, rejected):
    return -torch.stack([chosen, rejected]).log_softmax(1)[0].mean()


@mistake(
    "Now the difference is cut, at 100 or so. Beyond the limit the loss stays the same, so its gradient is 0, and "
    "nothing is learned. `nn.functional.logsigmoid` takes the whole difference."
)
def difference_cut_at_100(chosen, rejected):
    return -nn.functional.logsigmoid((chosen - rejected).clamp(-100, 100)).mean()


@mistake("The rejected text has no part in this. What people judge is the difference, chosen - rejected.")
def chosen_alone(chosen, rejected):
    return -nn.functional.logsigmoid(chosen).mean()


@mistake(
    "This subtracts two sigmoids. Subtract the *rewards*, take the sigmoid of the difference, and minus its logarithm."
)
def difference_of_the_sigmoids(chosen, rejected):
    return (rejected.sigmoid() - chosen.sigmoid()).mean()


EXERCISE = Exercise(
    id="bradley_terry_loss",
    title="Learn from a comparison, with a fault",
    points=1,
    minutes=6,
    difficulty=2,
    kind="debug",
    hints=(
        "Raise the chosen reward by a little. By how much does the loss fall if that text is 5 behind, and by how much "
        "if it is 30 behind?",
        "Below the limit of `clamp` the loss does not change with the rewards, so its gradient is 0. Without a limit "
        "the sigmoid of -200 rounds to 0, and its logarithm is infinite. Look among the functions of `nn.functional` "
        "for one that takes both steps at once.",
    ),
    reference=bradley_terry_loss,
    cases=cases,
    run_case=call_and_differentiate,
    remark=remark,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, From comparisons to numbers",
)

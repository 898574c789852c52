"""The advantages of GRPO: each reply compared with the others to the same prompt (Shao et al. 2024)."""

import math

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def group_advantages(rewards, group, scale_by_std):
    groups = rewards.view(-1, group)
    above = groups - groups.mean(dim=1, keepdim=True)
    if scale_by_std:
        spread = groups.std(dim=1, correction=0, keepdim=True)
        above = torch.where(spread > 0, above / spread, 0)
    return above.flatten()


def cases(rng):
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 5.0, 1.0, 1.0, 1.0])
    return [
        Case("two groups of 4, means only", (rewards, 4, False)),
        Case("two groups of 4, in standard deviations", (rewards + torch.rand(8, generator=rng), 4, True)),
        Case("one group in which all are equal", (torch.tensor([2.0, 2.0, 2.0, 0.0, 1.0, 2.0]), 3, True)),
        Case("5 groups of 6", (3 * torch.randn(30, generator=rng), 6, False)),
        Case("6 groups of 5, in standard deviations", (3 * torch.randn(30, generator=rng), 5, True)),
    ]


@alternative
def by_loops(rewards, group, scale_by_std):
    found = []
    for part in rewards.split(group):
        above = part - part.mean()
        found.append(above / (above.square().mean().sqrt() + 1e-8) if scale_by_std else above)
    return torch.cat(found)


@mistake(
    "The fault is still there. Two orders with four replies each, one liked and one not: rewards 3, 3, 3, 3, 0, 0, 0, "
    "0. No reply is better than the others to its order, so all advantages should be 0. Which rewards does `dim=0` "
    "take together?",
    given=True,
)
def over_the_orders(rewards, group, scale_by_std):
    groups = rewards.view(-1, group)
    above = groups - groups.mean(dim=0)
    if scale_by_std:
        above = above / (groups.std(dim=0, correction=0) + 1e-8)
    return above.flatten()


# Two lines have to change.
def half_cured(rewards, group, scale_by_std, mean_over, deviation_over):
    groups = rewards.view(-1, group)
    above = groups - groups.mean(dim=mean_over, keepdim=True)
    if scale_by_std:
        above = above / (groups.std(dim=deviation_over, correction=0, keepdim=True) + 1e-8)
    return above.flatten()


@mistake(
    "The mean is cured, the standard deviation is not: it is still that of replies to different orders. Take both over "
    "the replies of a group, `dim=1`."
)
def deviation_over_the_orders(rewards, group, scale_by_std):
    return half_cured(rewards, group, scale_by_std, mean_over=1, deviation_over=0)


@mistake(
    "The standard deviation is cured, the mean is not: it is still that of replies to different orders. Take both over "
    "the replies of a group, `dim=1`."
)
def mean_over_the_orders(rewards, group, scale_by_std):
    return half_cured(rewards, group, scale_by_std, mean_over=0, deviation_over=1)


@mistake(
    "Each reward is compared with all the others. Only its own group counts: the replies to the same prompt. Take the "
    "mean of each row of `rewards.view(-1, group)`."
)
def compared_with_all(rewards, group, scale_by_std):
    return group_advantages(rewards, len(rewards), scale_by_std)


@mistake(
    "Each reward is divided by the standard deviation of its own group, but compared with the mean of all rewards. "
    "Take the mean of the group, too: `dim=1`."
)
def mean_of_all(rewards, group, scale_by_std):
    above = (rewards - rewards.mean()).view(-1, group)
    if scale_by_std:
        above = above / (rewards.view(-1, group).std(dim=1, correction=0, keepdim=True) + 1e-8)
    return above.flatten()


@mistake(
    "This standard deviation divides by one less than the number of rewards, as for a sample. Here the group is all "
    "there is: `correction=0`."
)
def standard_deviation_of_a_sample(rewards, group, scale_by_std):
    advantages = group_advantages(rewards, group, scale_by_std)
    return advantages * math.sqrt((group - 1) / group) if scale_by_std else advantages


@mistake(
    "This standard deviation divides by one less than the number of rewards, as for a sample. Here the group is all "
    "there is: `correction=0`. (And where all rewards are equal it is 0, and 0 / 0 is not a number. Such a group "
    "teaches nothing: its advantages are 0.)"
)
def standard_deviation_of_a_sample_and_divides_by_zero(rewards, group, scale_by_std):
    advantages = group_advantages(rewards, group, False)
    spread = rewards.view(-1, group).std(1).repeat_interleave(group)
    return advantages / spread if scale_by_std else advantages


@mistake("This always divides by the standard deviation. Do so only if `scale_by_std` is True.")
def always_scaled(rewards, group, scale_by_std):
    return group_advantages(rewards, group, True)


@mistake(
    "Where all rewards of a group are equal this is 0 / 0, which is not a number. Such a group teaches nothing: its "
    "advantages are 0."
)
def divides_by_zero(rewards, group, scale_by_std):
    advantages = group_advantages(rewards, group, False)
    spread = rewards.view(-1, group).std(1, correction=0).repeat_interleave(group)
    return advantages / spread if scale_by_std else advantages


@mistake("This never divides by the standard deviation. Do so if `scale_by_std` is True.")
def never_scaled(rewards, group, scale_by_std):
    return group_advantages(rewards, group, False)


@mistake(
    "These groups are not made of neighbours: the first reward is compared with one from further on. "
    "`rewards.view(-1, group)` has one group in each row."
)
def not_neighbours(rewards, group, scale_by_std):
    neighbours = rewards.view(group, -1).T.flatten()
    return group_advantages(neighbours, group, scale_by_std).view(-1, group).T.flatten()


@mistake(
    "These are the right advantages in another order: those of the first replies of all groups come first. Flatten the "
    "table with a group in each row, as it was made."
)
def in_another_order(rewards, group, scale_by_std):
    return group_advantages(rewards, group, scale_by_std).view(-1, group).T.flatten()


@mistake(
    "Each reward is compared with its own group, but divided by the standard deviation of all rewards together. Take "
    "that of the group, too: `dim=1`."
)
def deviation_of_all(rewards, group, scale_by_std):
    advantages = group_advantages(rewards, group, False)
    return advantages / rewards.std(correction=0) if scale_by_std else advantages


@mistake("This makes `group` groups. But `group` says how many rewards there are in each: `rewards.view(-1, group)`.")
def as_many_groups(rewards, group, scale_by_std):
    return group_advantages(rewards, len(rewards) // group, scale_by_std)


@mistake(
    "This divides by the variance. The standard deviation is its root, and has the unit of the rewards: `std`, not "
    "`var`."
)
def divided_by_the_variance(rewards, group, scale_by_std):
    advantages = group_advantages(rewards, group, scale_by_std)
    spread = rewards.view(-1, group).std(1, correction=0).repeat_interleave(group)
    return torch.where(spread > 0, advantages / spread, 0) if scale_by_std else advantages


@mistake(
    "With `scale_by_std` the rewards themselves are divided, and the mean of their group is still in them. Divide what "
    "is left after the mean is subtracted."
)
def mean_left_in(rewards, group, scale_by_std):
    if not scale_by_std:
        return group_advantages(rewards, group, False)
    return rewards / (rewards.view(-1, group).std(1, correction=0).repeat_interleave(group) + 1e-8)


@mistake(
    "Each reward is compared with the mean of the *others* in its group. The mean of the group has the reward itself "
    "in it as well."
)
def mean_of_the_others(rewards, group, scale_by_std):
    return group_advantages(rewards, group, scale_by_std) * (group / (group - 1))


@mistake("Each reward is compared with the best of its group. Subtract the mean.")
def below_the_best(rewards, group, scale_by_std):
    groups = rewards.view(-1, group)
    below = groups - groups.amax(1, keepdim=True)
    if scale_by_std:
        below = below / (groups.std(1, correction=0, keepdim=True) + 1e-8)
    return below.flatten()


@mistake(
    "The means are right, and in the wrong places: `repeat` gives m1, m2, m1, m2. Neighbours belong together, so each "
    "mean comes `group` times in a row: `repeat_interleave`, or rows with `keepdim=True`."
)
def means_in_turn(rewards, group, scale_by_std):
    groups = rewards.view(-1, group)
    above = rewards - groups.mean(1).repeat(group)
    return above / (groups.std(1, correction=0).repeat(group) + 1e-8) if scale_by_std else above


@mistake(
    "Each is divided by the standard deviation of *all* advantages together. Take that of its own group: `dim=1`, with "
    "`keepdim=True`."
)
def deviation_of_all_advantages(rewards, group, scale_by_std):
    above = group_advantages(rewards, group, False)
    return above / (above.std(correction=0) + 1e-8) if scale_by_std else above


@mistake("Without `scale_by_std` the rewards come back as they are. The mean of the group is subtracted in both cases.")
def as_they_are_unless_scaled(rewards, group, scale_by_std):
    return group_advantages(rewards, group, True) if scale_by_std else rewards.clone()


EXERCISE = Exercise(
    id="group_advantages",
    title="Better than the others, with a fault",
    points=2,
    minutes=6,
    difficulty=2,
    kind="debug",
    hints=(
        "Take two orders with four replies each, rewards 3, 3, 3, 3, 0, 0, 0, 0. What should the advantages be, and "
        "what are they? Which numbers of the table are averaged by `dim=0`?",
        "A group is a row of the table. Over which axis do you take the mean of each row? There are two lines with a "
        "`dim` in them. And a mean that has lost its axis does not fit to the rows: `keepdim=True`.",
    ),
    reference=group_advantages,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, From one reward to many tokens",
)

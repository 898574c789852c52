"""Generalised advantage estimation: how much better than expected it went from each token on (Schulman et al. 2016)."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def gae(rewards, values, gamma, lam):
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantages[:, t] = delta + gamma * lam * next_advantage
        next_value, next_advantage = values[:, t], advantages[:, t]
    return advantages


def cases(rng):
    rewards, values = torch.tensor([[1.0, 0.0, 5.0]]), torch.tensor([[2.0, 3.0, 4.0]])

    def random(*shape):
        return torch.randn(*shape, generator=rng)

    return [
        Case("lam = 0: one step ahead", (rewards, values, 1.0, 0.0), expected=torch.tensor([[2.0, 1.0, 1.0]])),
        Case("lam = 1: all that is to come", (rewards, values, 1.0, 1.0), expected=torch.tensor([[4.0, 2.0, 1.0]])),
        Case("3 replies of 6 tokens", (random(3, 6), random(3, 6), 0.9, 0.8)),
        Case("one token", (random(2, 1), random(2, 1), 0.9, 0.5)),
    ]


@alternative
def by_double_sum(rewards, values, gamma, lam):
    n = rewards.shape[1]
    after = torch.cat((values[:, 1:], torch.zeros_like(values[:, :1])), dim=1)
    delta = rewards + gamma * after - values
    return torch.stack([sum((gamma * lam) ** (s - t) * delta[:, s] for s in range(t, n)) for t in range(n)], dim=1)


@alternative
def by_matrix(rewards, values, gamma, lam):
    n = rewards.shape[1]
    after = torch.nn.functional.pad(values[:, 1:], (0, 1))
    steps = torch.arange(n)[:, None] - torch.arange(n)
    weights = torch.where(steps >= 0, torch.tensor(gamma * lam, dtype=rewards.dtype) ** steps.clamp(min=0), 0)
    return (rewards + gamma * after - values) @ weights


# The two halves of the method, from which the mistakes below are made.


def next_values(values, behind_the_end=0.0):
    """The value of the next place in each place, and a value of its own behind the last."""
    last = torch.zeros_like(values[:, :1]) + behind_the_end
    return torch.cat((values[:, 1:], last), dim=1)


def discounted_sums(delta, factor):
    """Each delta, plus `factor` times the sum of the place after it."""
    sums = torch.zeros_like(delta)
    running = torch.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        running = delta[:, t] + factor * running
        sums[:, t] = running
    return sums


@mistake(
    "This sums up what came before each token. The advantage is about what comes after it: go through the reply "
    "backwards, from its last token to its first."
)
def forwards(rewards, values, gamma, lam):
    delta = rewards + gamma * next_values(values) - values
    return discounted_sums(delta.flip(1), gamma * lam).flip(1)


@mistake(
    "Behind the last token this takes the value of the last token once more. Nothing is to come there: the value is 0."
)
def last_value_twice(rewards, values, gamma, lam):
    delta = rewards + gamma * next_values(values, behind_the_end=values[:, -1:]) - values
    return discounted_sums(delta, gamma * lam)


@mistake(
    "Behind the last token this takes the value of the first one, which is what `roll` puts there. Nothing is to come "
    "there: the value is 0."
)
def first_value_behind_the_end(rewards, values, gamma, lam):
    delta = rewards + gamma * values.roll(-1, dims=1) - values
    return discounted_sums(delta, gamma * lam)


@mistake(
    "The next advantage is multiplied by lam alone. Multiply it by gamma and by lam: `gamma * lam * next_advantage`."
)
def advantage_without_gamma(rewards, values, gamma, lam):
    delta = rewards + gamma * next_values(values) - values
    return discounted_sums(delta, lam)


@mistake(
    "`lam` has no effect here, as if it were 1: these are the rewards to come, less the value. Multiply the next "
    "advantage by gamma *and* by lam."
)
def advantage_without_lam(rewards, values, gamma, lam):
    delta = rewards + gamma * next_values(values) - values
    return discounted_sums(delta, gamma)


@mistake(
    "This is delta alone, which is right for lam = 0 only. Add gamma times lam times the advantage of the next token. "
    "(If you do add it, it is always 0. Is it kept from round to round, and do you come from the last token?)"
)
def delta_alone(rewards, values, gamma, lam):
    return rewards + gamma * next_values(values) - values


@mistake(
    "Both values have the wrong sign. The value of the next token is added (it is still to come), and the value of "
    "this token is subtracted (it was expected)."
)
def signs_of_values_flipped(rewards, values, gamma, lam):
    return gae(rewards, -values, gamma, lam)


@mistake(
    "The value of the token itself is missing. An advantage says how much better it went than expected: subtract what "
    "was expected, `values[:, t]`."
)
def own_value_missing(rewards, values, gamma, lam):
    return discounted_sums(rewards + gamma * next_values(values), gamma * lam)


@mistake(
    "The values are not used: this sums the rewards that are to come. An advantage says how much better they are than "
    "the values had predicted."
)
def no_values(rewards, values, gamma, lam):
    return discounted_sums(rewards, gamma * lam)


@mistake(
    "This goes down the columns, from one reply to the next. Each row is a reply of its own: go along its places, "
    "which are the second axis."
)
def along_the_batch(rewards, values, gamma, lam):
    return gae(rewards.T, values.T, gamma, lam).T


@mistake(
    "The value is added again at the end. That sum is the target that the critic is trained on; return the advantage "
    "alone."
)
def target_of_the_critic(rewards, values, gamma, lam):
    return gae(rewards, values, gamma, lam) + values


@mistake(
    "The value of the next token is 0 in each round, since it is never set. At the end of a round keep this token's "
    "value, `values[:, t]`, for the one before."
)
def next_value_always_0(rewards, values, gamma, lam):
    return discounted_sums(rewards - values, gamma * lam)


@mistake(
    "The sum stops after the next token: each advantage is its delta plus gamma lam times the *delta* of the next. Add "
    "the *advantage* of the next, which holds all that follows."
)
def one_delta_further(rewards, values, gamma, lam):
    delta = rewards + gamma * next_values(values) - values
    return delta + gamma * lam * next_values(delta)


@mistake(
    "The value of the next token is multiplied by lam too, or it is not there: rewards added up with gamma and lam, "
    "less one value, are the same numbers. In delta the next value stands with gamma alone; lam is for the advantage."
)
def lam_in_delta(rewards, values, gamma, lam):
    return discounted_sums(rewards + gamma * lam * next_values(values) - values, gamma * lam)


@mistake("gamma is missing in delta: the value of the next token is multiplied by it, as the next advantage is.")
def delta_without_gamma(rewards, values, gamma, lam):
    return discounted_sums(rewards + next_values(values) - values, gamma * lam)


@mistake("In delta, the next value is the token's own. Set `next_value` at the *end* of a round, for the token before.")
def own_value_for_the_next(rewards, values, gamma, lam):
    return discounted_sums(rewards + gamma * values - values, gamma * lam)


@mistake(
    "One reply runs into the next: at the last token of a row, the value and the advantage of the row before are still "
    "there. Set both to 0 at the beginning of each row."
)
def replies_run_into_each_other(rewards, values, gamma, lam):
    in_the_order_of_the_loops = (x.flip(0).flatten()[None] for x in (rewards, values))
    return gae(*in_the_order_of_the_loops, gamma, lam).view_as(rewards).flip(0)


@mistake(
    "These are the advantages in the order in which they were found, the last token first. Turn them round, "
    "`.flip(1)`, or write each into its place."
)
def last_token_first(rewards, values, gamma, lam):
    return gae(rewards, values, gamma, lam).flip(1)


@mistake("The last token has no advantage here: the loop ends one place too early. Behind it V and A are 0.")
def without_the_last_token(rewards, values, gamma, lam):
    advantages = torch.zeros_like(rewards)
    for t in reversed(range(rewards.shape[1] - 1)):
        delta = rewards[:, t] + gamma * values[:, t + 1] - values[:, t]
        advantages[:, t] = delta + gamma * lam * advantages[:, t + 1]
    return advantages


@mistake(
    "The first token has no advantage here: `range(n - 1, 0, -1)` ends at 1. The end itself is left out: write -1."
)
def without_the_first_token(rewards, values, gamma, lam):
    advantages = gae(rewards, values, gamma, lam)
    advantages[:, 0] = 0
    return advantages


@mistake(
    "This takes the reward of the next token in delta. The reward of a token is its own, `rewards[:, t]`; the *value* "
    "is that of the next."
)
def reward_of_the_next(rewards, values, gamma, lam):
    return discounted_sums(next_values(rewards) + gamma * next_values(values) - values, gamma * lam)


@mistake("gamma and lam are added up. The next advantage is multiplied by both: `gamma * lam`.")
def factors_added(rewards, values, gamma, lam):
    return discounted_sums(rewards + gamma * next_values(values) - values, gamma + lam)


@mistake(
    "The advantages pile up twice: the next advantage holds all that follows already. Set it to this token's advantage "
    "at the end of a round, with `=`, not `+=`."
)
def advantages_pile_up(rewards, values, gamma, lam):
    delta = rewards + gamma * next_values(values) - values
    advantages, running = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        advantages[:, t] = delta[:, t] + gamma * lam * running
        running = running + advantages[:, t]
    return advantages


@mistake(
    "The token's own value is added. An advantage says how much better it went than expected: subtract what was "
    "expected."
)
def own_value_added(rewards, values, gamma, lam):
    return discounted_sums(rewards + gamma * next_values(values) + values, gamma * lam)


EXERCISE = Exercise(
    id="gae",
    title="Which token deserves the praise?",
    points=3,
    minutes=15,
    difficulty=3,
    kind="code",
    hints=(
        "Go through the columns from the last to the first, and remember the value and the advantage of the column "
        "that you come from. Both are 0 at the start.",
        "For one column the delta needs the value of the column behind it, and the advantage needs the advantage of "
        "the column behind it. At the end of each round, keep this column's two numbers for the next round.",
    ),
    reference=gae,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, From one reward to many tokens",
)

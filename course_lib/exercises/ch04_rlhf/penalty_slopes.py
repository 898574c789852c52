"""What k1, k2 and k3 do as a loss: their mean slopes (Schulman 2020; Liu et al. 2025, "Rethinking KL ...")."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def penalty_slopes(pi, ref):
    log_ratio = (pi / ref).log()
    return {
        "k1": torch.zeros_like(pi),
        "k2": pi * (log_ratio - (pi * log_ratio).sum()),
        "k3": pi - ref,
    }


def cases(rng):
    def policies(words, sharpness=1.0):
        logits = torch.randn(2, words, generator=rng) * torch.tensor([[sharpness], [1.0]])
        return tuple(logits.softmax(-1))

    # Uneven enough for every way of being wrong to show: no two words are alike.
    a = 0.7 + 0.2 * torch.rand((), generator=rng).item()
    uneven = torch.tensor([a, 0.95 - a, 0.05])
    return [
        Case("two words: 0.8 and 0.2, and 0.5 each", (torch.tensor([0.8, 0.2]), torch.tensor([0.5, 0.5]))),
        Case("5 words", policies(5)),
        Case("a reference that likes all words alike", (uneven, torch.full((3,), 1 / 3))),
        Case("a policy that is nearly sure", policies(6, sharpness=3.0)),
        Case("the policy is the reference", (uneven.flip(0), uneven.flip(0))),
    ]


@alternative
def by_autograd(pi, ref):
    logits = pi.log().requires_grad_()
    log_ratio = logits.log_softmax(0) - ref.log()
    estimates = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": (-log_ratio).exp() - 1 + log_ratio}
    return {name: torch.autograd.grad((pi * k).sum(), logits, retain_graph=True)[0] for name, k in estimates.items()}


@alternative
def by_scores(pi, ref):
    # Row y: by how much the logarithm of word y's probability moves with each logit.
    scores = torch.eye(len(pi), dtype=pi.dtype) - pi
    slopes = torch.stack([torch.ones_like(pi), pi.log() - ref.log(), 1 - ref / pi])
    k1, k2, k3 = (pi * slopes) @ scores
    return {"k1": k1, "k2": k2, "k3": k3}


@alternative
def word_by_word(pi, ref):
    slopes = {"k1": lambda p, q: 1.0, "k2": lambda p, q: torch.log(p / q), "k3": lambda p, q: (p - q) / p}
    found = {}
    for name, slope in slopes.items():
        total = torch.zeros_like(pi)
        for y, (p, q) in enumerate(zip(pi, ref, strict=True)):
            total -= p * slope(p, q) * pi
            total[y] += p * slope(p, q)
        found[name] = total
    return found


def slope_of_the_kl(pi, ref):
    log_ratio = (pi / ref).log()
    return pi * (log_ratio - (pi * log_ratio).sum())


@mistake(
    "k1 has the mean of the KL, but not its slope. Whatever word was sampled, k1 falls only if this word becomes less "
    "likely. Write down the slope for each word, weigh it by how often the word is sampled, and add up."
)
def k1_taken_for_the_kl(pi, ref):
    return {**penalty_slopes(pi, ref), "k1": slope_of_the_kl(pi, ref)}


@mistake(
    "k3 has the mean of the KL, but not its slope. By the logarithm of the sampled word's probability its slope is 1 - "
    "ref / pi. Now weigh this by pi, and add up over the words."
)
def k3_taken_for_the_kl(pi, ref):
    return {**penalty_slopes(pi, ref), "k3": slope_of_the_kl(pi, ref)}


@mistake(
    "k1 and k3 have the mean of the KL, but neither has its slope. Take each estimate for one word, find its slope by "
    "the logits, weigh it by how often the word is sampled, and add up."
)
def both_taken_for_the_kl(pi, ref):
    return {name: slope_of_the_kl(pi, ref) for name in ("k1", "k2", "k3")}


@mistake(
    "These are also the slopes of the probabilities with which words are sampled. The words are there before the step: "
    "`pi` as a weight is a plain number, and only what stands inside the estimate has a slope."
)
def through_the_sampling(pi, ref):
    logits = pi.log().requires_grad_()
    log_pi = logits.log_softmax(0)
    log_ratio = log_pi - ref.log()
    estimates = {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": (-log_ratio).exp() - 1 + log_ratio}
    return {
        name: torch.autograd.grad((log_pi.exp() * k).sum(), logits, retain_graph=True)[0]
        for name, k in estimates.items()
    }


@mistake(
    "These are slopes by the *logarithms of the probabilities*, as if each could move alone. By the logits they are "
    "other ones: a logit that rises also lowers the logarithms of all other words, by its own probability."
)
def by_the_logarithms(pi, ref):
    return {"k1": pi, "k2": pi * (pi / ref).log(), "k3": pi - ref}


@mistake(
    "Each word counts once here. But words are sampled from the policy: weigh the slope that a word gives by the "
    "word's probability, `pi`."
)
def not_weighed(pi, ref):
    scores = torch.eye(len(pi), dtype=pi.dtype) - pi
    k1, k2, k3 = torch.stack([torch.ones_like(pi), (pi / ref).log(), 1 - ref / pi]) @ scores
    return {"k1": k1, "k2": k2, "k3": k3}


@mistake(
    "These are the slopes for a word that has been sampled, by the logarithm of its probability. Two steps are left: "
    "how each logit moves that logarithm, and the mean over the words that may be sampled."
)
def slopes_of_the_sampled_word(pi, ref):
    return {"k1": torch.ones_like(pi), "k2": (pi / ref).log(), "k3": 1 - ref / pi}


@mistake(
    "Here a logit moves only if its own word is sampled. If another word is, the logit lowers that word's logarithm, "
    "by its own probability: add up over all words."
)
def own_word_alone(pi, ref):
    own = pi * (1 - pi)
    return {"k1": own, "k2": own * (pi / ref).log(), "k3": own * (1 - ref / pi)}


@mistake(
    "The words are weighed by the reference. It is the policy that writes, so a word is sampled with the probability "
    "`pi`."
)
def sampled_from_the_reference(pi, ref):
    scores = torch.eye(len(pi), dtype=pi.dtype) - pi
    slopes = torch.stack([torch.ones_like(pi), (pi / ref).log(), 1 - ref / pi])
    k1, k2, k3 = (ref * slopes) @ scores
    return {"k1": k1, "k2": k2, "k3": k3}


@mistake(
    "In k2 the other logits are forgotten: a logit that rises lowers the logarithms of all other words. Take the mean "
    "of log(pi / ref) off, the mean over the policy."
)
def k2_without_the_mean(pi, ref):
    return {**penalty_slopes(pi, ref), "k2": pi * (pi / ref).log()}


@mistake(
    "k2 has the slopes of k3 here. They agree to first order where the policy is near the reference, and nowhere else. "
    "For the sampled word, the slope of k2 is log(pi / ref)."
)
def k2_like_k3(pi, ref):
    return {**penalty_slopes(pi, ref), "k2": pi - ref}


@mistake("k2 is half of a square, and the slope of half a square is the number itself: no factor is left.")
def k2_halved(pi, ref):
    return {**penalty_slopes(pi, ref), "k2": slope_of_the_kl(pi, ref) / 2}


@mistake("k2 is *half* of a square: its slope is log(pi / ref), not twice that.")
def k2_doubled(pi, ref):
    return {**penalty_slopes(pi, ref), "k2": slope_of_the_kl(pi, ref) * 2}


@mistake(
    "The slope of k3 has the wrong sign. Where the policy is above the reference, less of the word makes k3 smaller, "
    "so the slope is positive there."
)
def k3_flipped(pi, ref):
    return {**penalty_slopes(pi, ref), "k3": ref - pi}


@mistake(
    "All signs are wrong. These are the directions in which a step goes, which is against the slope. The slopes "
    "themselves are asked for."
)
def the_steps(pi, ref):
    return {name: -slope for name, slope in penalty_slopes(pi, ref).items()}


@mistake(
    "In k2 a plain mean is taken off. Words are sampled from the policy: take off the mean of log(pi / ref) weighted "
    "by `pi`, which is the KL."
)
def k2_with_a_plain_mean(pi, ref):
    log_ratio = (pi / ref).log()
    return {**penalty_slopes(pi, ref), "k2": pi * (log_ratio - log_ratio.mean())}


@mistake("In k2 the mean is taken over the reference. Words are sampled from the policy: weight log(pi / ref) by `pi`.")
def k2_with_the_mean_of_the_reference(pi, ref):
    log_ratio = (pi / ref).log()
    return {**penalty_slopes(pi, ref), "k2": pi * (log_ratio - (ref * log_ratio).sum())}


@mistake(
    "In k2 each word counts once. The slope that a word gives is weighted by how often the word is sampled: multiply "
    "by `pi`."
)
def k2_not_weighted(pi, ref):
    log_ratio = (pi / ref).log()
    return {**penalty_slopes(pi, ref), "k2": log_ratio - (pi * log_ratio).sum()}


@mistake("The slope of k2 has the wrong sign: it begins with log(pi / ref), not with log(ref / pi).")
def k2_flipped(pi, ref):
    return {**penalty_slopes(pi, ref), "k2": -slope_of_the_kl(pi, ref)}


@mistake(
    "k1 has the slope 1 by the logarithm of the sampled word. A logit j moves that logarithm by 1 - pi(j) if j is the "
    "word, and by -pi(j) if another one is. Weigh the two, and add them up."
)
def k1_own_word_alone(pi, ref):
    return {**penalty_slopes(pi, ref), "k1": 1 - pi}


@mistake(
    "These are k1, k2 and k3 themselves, for each word. Their slopes by the logits are asked for, on average over the "
    "words."
)
def the_estimates(pi, ref):
    log_ratio = (pi / ref).log()
    return {"k1": log_ratio, "k2": log_ratio**2 / 2, "k3": ref / pi - 1 + log_ratio}


@mistake(
    "In k3 a logit moves only if its own word is sampled. If another word is, the logit lowers that word's logarithm, "
    "by its own probability: add up over all words."
)
def k3_own_word_alone(pi, ref):
    return {**penalty_slopes(pi, ref), "k3": (pi - ref) * (1 - pi)}


@mistake(
    "In k1 the other logits are forgotten. If word y is sampled, logit j moves log pi(y) by 1 - pi(j) where y is j, "
    "and by -pi(j) otherwise. What is the mean of that over the words?"
)
def k1_without_the_others(pi, ref):
    return {**penalty_slopes(pi, ref), "k1": pi.clone()}


@mistake(
    "k3 has the slope for a word that was sampled, by the logarithm of its probability. Two steps are left: how each "
    "logit moves that logarithm, and the mean over the words that may be sampled."
)
def k3_for_the_sampled_word(pi, ref):
    return {**penalty_slopes(pi, ref), "k3": 1 - ref / pi}


@mistake("k2 is in bits here. log is the natural logarithm.")
def k2_in_bits(pi, ref):
    return {**penalty_slopes(pi, ref), "k2": slope_of_the_kl(pi, ref) / torch.tensor(2.0).log()}


@mistake(
    "In k2 the square itself is where its slope should be. By log pi(y), the slope of half the square of log(pi / ref) "
    "is log(pi / ref)."
)
def k2_with_the_square(pi, ref):
    half_square = (pi / ref).log() ** 2 / 2
    return {**penalty_slopes(pi, ref), "k2": pi * (half_square - (pi * half_square).sum())}


@mistake("k2 and k3 are exchanged: k2 is half the square of log(pi / ref), and k3 has ref / pi in it.")
def k2_and_k3_exchanged(pi, ref):
    slopes = penalty_slopes(pi, ref)
    return {"k1": slopes["k1"], "k2": slopes["k3"], "k3": slopes["k2"]}


EXERCISE = Exercise(
    id="penalty_slopes",
    title="Right as a number, and as a slope?",
    points=3,
    minutes=18,
    difficulty=3,
    kind="derive",
    hints=(
        "Say s(y) for the slope of an estimate by log pi(y): for k1 it is 1. Word y is sampled with the probability "
        "pi(y), and pulls at the logit of word j: by s(y) (1 - pi(j)) if y is j, by -s(y) pi(j) otherwise. Add up "
        "over y.",
        "The sum is pi(j) times (s(j) minus the mean of s over the policy). For k2, s is log(pi / ref), and its mean "
        "is the KL. For k3, s is 1 - ref / pi; what is its mean, and what is left?",
    ),
    reference=penalty_slopes,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 4, Where the penalty is in the code",
)

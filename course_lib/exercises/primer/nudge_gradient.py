"""A gradient by hand: nudge one number up and down, and see how the loss moves."""

import torch

from course_lib.exercises.primer.cross_entropy import cross_entropy
from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def nudge_gradient(scores, targets, eps=1e-4):
    gradient = torch.zeros_like(scores)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            up, down = scores.clone(), scores.clone()
            up[i, j] += eps
            down[i, j] -= eps
            gradient[i, j] = (cross_entropy(up, targets) - cross_entropy(down, targets)) / (2 * eps)
    return gradient


def cases(rng):
    def drawn(n, choices):
        scores = torch.randn(n, choices, generator=rng, dtype=torch.float64)
        return scores, torch.randint(choices, (n,), generator=rng)

    return [
        # First, since after a small nudge a wrong slope may look like a rounded one.
        Case("a large nudge: eps=0.5", drawn(2, 3), {"eps": 0.5}),
        Case("one example, three choices", drawn(1, 3)),
        Case("3 examples, 4 choices", drawn(3, 4)),
    ]


@alternative
def all_nudges_from_the_unit_matrix(scores, targets, eps=1e-4):
    found = []
    for nudge in eps * torch.eye(scores.numel(), dtype=scores.dtype).view(-1, *scores.shape):
        found.append(cross_entropy(scores + nudge, targets) - cross_entropy(scores - nudge, targets))
    return torch.stack(found).view(scores.shape) / (2 * eps)


@alternative
def on_a_copy(scores, targets, eps=1e-4):
    gradient, work = torch.empty_like(scores), scores.clone()
    for place in torch.cartesian_prod(*(torch.arange(size) for size in scores.shape)).tolist():
        place, losses = tuple(place), []
        for step in (eps, -eps):
            work[place] += step
            losses.append(float(cross_entropy(work, targets)))
            work[place] = scores[place]
        gradient[place] = (losses[0] - losses[1]) / (2 * eps)
    return gradient


def differences(scores, targets, eps, width, low=-1):
    """Differences of the loss between +eps and low * eps, divided by `width`."""
    shape = (scores.numel(), *scores.shape)
    nudges = eps * torch.eye(scores.numel(), dtype=scores.dtype).view(shape)
    found = [cross_entropy(scores + n, targets) - cross_entropy(scores + low * n, targets) for n in nudges]
    return torch.stack(found).view(scores.shape) / width


@mistake("Divide by 2 * eps: the score went up by eps and down by eps, so the two losses lie 2 * eps apart.")
def divided_by_eps(scores, targets, eps=1e-4):
    return differences(scores, targets, eps, eps)


@mistake("Divide the difference of the two losses by how far apart the two scores were, 2 * eps.")
def not_divided(scores, targets, eps=1e-4):
    return differences(scores, targets, eps, 1)


@mistake("This looks upside down: the loss after the nudge up, less the loss after the nudge down.")
def upside_down(scores, targets, eps=1e-4):
    return -differences(scores, targets, eps, 2 * eps)


@mistake(
    "This nudges up only, and compares with no nudge. With a large eps the difference shows: nudge up and down, and "
    "divide by 2 * eps."
)
def up_only(scores, targets, eps=1e-4):
    return differences(scores, targets, eps, eps, low=0)


@mistake(
    "Your nudge down only takes the nudge up back: it ends at the score itself, half as far away as `2 * eps` says. Go "
    "down by 2 * eps from there, or begin both nudges with a fresh copy."
)
def back_at_the_start(scores, targets, eps=1e-4):
    return differences(scores, targets, eps, 2 * eps, low=0)


@mistake(
    "These are the exact slopes, as autograd gives them, or those for a nudge of 1e-4. `eps` is an argument: for the "
    "large nudge the difference shows."
)
def eps_ignored(scores, targets, eps=1e-4):
    return differences(scores, targets, 1e-4, 2e-4)


NO_COPY = (
    "`up = scores` makes no copy: `up`, `down` and `scores` are three names of one tensor, and each nudge changes all "
    "three. `scores.clone()` makes a copy."
)


@mistake(NO_COPY)
def no_copy(scores, targets, eps=1e-4):
    gradient = torch.zeros_like(scores)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            up = down = scores
            up[i, j] += eps
            down[i, j] -= eps
            gradient[i, j] = (cross_entropy(up, targets) - cross_entropy(down, targets)) / (2 * eps)
    return gradient


@mistake(NO_COPY)
def no_copy_one_loss_after_the_other(scores, targets, eps=1e-4):
    gradient = torch.zeros_like(scores)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            scores[i, j] += eps
            up = cross_entropy(scores, targets)
            scores[i, j] -= eps
            gradient[i, j] = (up - cross_entropy(scores, targets)) / (2 * eps)
    return gradient


@mistake(
    "The nudges pile up: each one has to start from the scores as they were given. Make a new copy for every place, or "
    "take the nudge back."
)
def piled_up(scores, targets, eps=1e-4):
    gradient, work = torch.zeros_like(scores), scores.clone()
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            work[i, j] += eps
            up = cross_entropy(work, targets)
            work[i, j] -= 2 * eps
            gradient[i, j] = (up - cross_entropy(work, targets)) / (2 * eps)
    return gradient


@mistake(
    "The nudges pile up: the copies are made once, before the loops, so each keeps the nudges of all the places "
    "before. Make both copies anew for every place."
)
def copied_before_the_loops(scores, targets, eps=1e-4):
    gradient, up, down = torch.zeros_like(scores), scores.clone(), scores.clone()
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            up[i, j] += eps
            down[i, j] -= eps
            gradient[i, j] = (cross_entropy(up, targets) - cross_entropy(down, targets)) / (2 * eps)
    return gradient


@mistake(
    "A whole row is nudged at once here. The same number added to all scores of a row changes no probability, so the "
    "loss stays, and every slope is 0. Nudge one number, `up[i, j] += eps`, at each place anew."
)
def whole_rows_nudged(scores, targets, eps=1e-4):
    gradient = torch.zeros_like(scores)
    for i in range(scores.shape[0]):
        up, down = scores.clone(), scores.clone()
        up[i] += eps
        down[i] -= eps
        gradient[i] = (cross_entropy(up, targets) - cross_entropy(down, targets)) / (2 * eps)
    return gradient


EXERCISE = Exercise(
    id="nudge_gradient",
    title="A gradient by nudging",
    points=2,
    minutes=8,
    difficulty=2,
    kind="code",
    hints=(
        "Two loops, over rows and columns. At each place, make two copies of the scores and change one number in each.",
        "`up = scores.clone()`, then `up[i, j] += eps`; `down` likewise with `-=`. `cross_entropy` of each gives "
        "two losses: how far did the loss move, and how far the score?",
    ),
    reference=nudge_gradient,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    needs=("cross_entropy",),
    avoid=("torch.autograd", "backward", "jacobian"),
    see="Primer, Which way is down?",
    # A difference of two losses near 1, each rounded to 1e-16, divided by 2e-4, is rounded to about 1e-12.
    rtol=1e-7,
    atol=1e-9,
)

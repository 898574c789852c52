"""A control for what names mean: every thing has a name of its own, and no word of it says anything."""

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    WrongAnswer,
    alternative,
    alternatives_in,
    in_words,
    mistake,
    mistakes_in,
)


def wrong_names(n_colours, n_shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    own = torch.arange(n_colours * n_shapes)
    while True:
        names = torch.randperm(len(own), generator=generator)
        colours = torch.bincount(own // n_shapes * n_colours + names // n_shapes)
        shapes = torch.bincount(own % n_shapes * n_shapes + names % n_shapes)
        kept = (names == own).any()
        if not kept and colours.max() <= n_shapes / 2 and shapes.max() <= n_colours / 2:
            return names


def cases(rng):
    def sizes():
        """More shapes than colours, and not 6 and 8: what is right for one number of things is no answer for others."""
        pairs = [(c, s) for c in range(4, 8) for s in range(c + 1, 11) if (c, s) != (6, 8)]
        return pairs[int(torch.randint(len(pairs), (), generator=rng))]

    def seed():
        return int(torch.randint(2, 10**6, (), generator=rng))

    return [
        Case("6 colours and 8 shapes, seed 0", (6, 8, 0)),
        Case("6 colours and 8 shapes, seed 1", (6, 8, 1)),
        Case("other colours and shapes, another seed", (*sizes(), seed())),
        Case("again others", (*sizes(), seed())),
        Case("once more", (*sizes(), seed())),
    ]


def run_case(subject, n_colours, n_shapes, seed):
    """Compare what the names promise, not which they are: any choice that keeps the three promises is right."""
    names = subject(n_colours, n_shapes, seed)
    n = n_colours * n_shapes
    if not isinstance(names, torch.Tensor) or names.dtype != torch.long:
        raise WrongAnswer("return a tensor of whole numbers: for each thing, the number of its name.")
    if names.shape != (n,):
        raise WrongAnswer(f"there are {n} things, so {n} numbers should come back, in one row.")
    if names.min() < 0 or names.max() >= n:
        raise WrongAnswer(f"the names have the numbers 0 to {n - 1}.")
    own = torch.arange(n)
    colours = torch.bincount(own // n_shapes * n_colours + names // n_shapes).max()
    shapes = torch.bincount(own % n_shapes * n_shapes + names % n_shapes).max()
    kept = names == own
    if len(names.unique()) == 1:
        return "all things have the same name"
    if len(names.unique()) < n:
        return "some name is given twice"
    if kept.all():
        return "every thing keeps its own name"
    if colours > n_shapes / 2:
        return "a colour word can be translated"
    if shapes > n_colours / 2:
        return "a shape word can be translated"
    return "a thing keeps its own name" if kept.any() else "all three promises are kept"


@alternative
def by_a_rule(n_colours, n_shapes, seed):
    # Each word of the name depends on both the colour and the shape of the thing.
    thing = torch.arange(n_colours * n_shapes)
    colour = (thing // n_shapes + thing % n_shapes) % n_colours
    return colour * n_shapes + (thing % n_shapes + colour + 1) % n_shapes


@alternative
def one_by_one(n_colours, n_shapes, seed):
    torch.manual_seed(seed)
    while True:
        names, colours, shapes = [], {}, {}
        for thing, name in enumerate(torch.randperm(n_colours * n_shapes).tolist()):
            colour, shape = (thing // n_shapes, name // n_shapes), (thing % n_shapes, name % n_shapes)
            colours[colour], shapes[shape] = colours.get(colour, 0) + 1, shapes.get(shape, 0) + 1
            if name == thing or colours[colour] > n_shapes / 2 or shapes[shape] > n_colours / 2:
                break
            names.append(name)
        else:
            return torch.tensor(names)


def all_names(n_colours, n_shapes):
    return torch.arange(n_colours * n_shapes)


@mistake("Every thing still has its own name. Then nothing has been taken away.")
def unchanged(n_colours, n_shapes, seed):
    return all_names(n_colours, n_shapes)


@mistake(
    "Colour words can be translated: more than half of the things of one colour are called by the same colour word. A "
    "model that learns this can name a new thing. Mix single names, not whole rows of them."
)
def next_name(n_colours, n_shapes, seed):
    return all_names(n_colours, n_shapes).roll(1)


@mistake(
    "In some of the cases a thing keeps its own name, or a word can be translated. This looks like a random "
    "order: on average, one thing stays in its place. Draw again until neither happens."
)
def random_order(n_colours, n_shapes, seed):
    return torch.randperm(n_colours * n_shapes, generator=torch.Generator().manual_seed(seed))


@mistake(
    "A thing keeps its own name. A control that knows a true name is no longer blind to words: let none keep its own."
)
def one_keeps_its_own(n_colours, n_shapes, seed):
    names = wrong_names(n_colours, n_shapes, seed)
    names[names == 0] = names[0].item()
    names[0] = 0
    return names


@mistake("Some name is given twice, and another one to nobody. Then this control has fewer names to learn.")
def with_repetition(n_colours, n_shapes, seed):
    names = wrong_names(n_colours, n_shapes, seed)
    names[1] = names[0] if names[0] != 1 else names[2]
    return names


@mistake(
    "Shape words can be translated: more than half of the things of one shape are called by the same shape word. A "
    "model that learns this can name a new thing. Let both words of a name depend on both, the colour and the shape."
)
def shape_stays(n_colours, n_shapes, seed):
    thing = all_names(n_colours, n_shapes)
    colour, shape = thing // n_shapes, thing % n_shapes
    return (colour + shape) % n_colours * n_shapes + (shape + 1) % n_shapes


@mistake("All things have the same name. A model could not even learn names by heart. Give every name once.")
def one_name(n_colours, n_shapes, seed):
    return torch.zeros_like(all_names(n_colours, n_shapes))


EXERCISE = Exercise(
    id="wrong_names",
    title="The control: names that say nothing",
    points=2,
    minutes=12,
    difficulty=2,
    kind="design",
    hints=(
        "Most random orders of the names keep the third promise, and about one in three the second. So draw one, look, "
        "and draw again if it breaks a promise.",
        "The colour of a name is `name // n_shapes`. Give each pair of a true colour and a colour word one number, and "
        "`torch.bincount` counts how often it occurs. The largest count must not be above `n_shapes / 2`.",
    ),
    reference=wrong_names,
    cases=cases,
    run_case=run_case,
    remark=in_words,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 11, A name that was never heard",
)

"""A control that is told every step of a chain and can read none."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def told_only(prompts, states, dot):
    dots = torch.full_like(states[:, :-1], dot)
    return [torch.cat([prompts, dots], dim=1), states.clone()]


def cases(rng):
    def problems(rows, tokens, steps, dot):
        prompts = torch.randint(20, (rows, tokens), generator=rng)
        return prompts, torch.randint(7, (rows, steps), generator=rng), dot

    return [
        Case(
            "by hand: 3 +5 *4 =, where . is token 22",
            (torch.tensor([[3, 12, 18, 21]]), torch.tensor([[1, 4]]), 22),
            expected=[torch.tensor([[3, 12, 18, 21, 22]]), torch.tensor([[1, 4]])],
        ),
        Case("one step", problems(5, 3, 1, 22)),
        Case("6 steps", problems(4, 8, 6, 22)),
        Case("9 steps, another dot", problems(3, 11, 9, 30)),
    ]


@alternative
def by_writing_over(prompts, states, dot):
    inputs = torch.cat([prompts, states], dim=1)[:, :-1]
    inputs[:, prompts.shape[1] :] = dot
    return [inputs, states]


@alternative
def by_padding(prompts, states, dot):
    return [torch.nn.functional.pad(prompts, (0, states.shape[1] - 1), value=dot), states]


@alternative
def row_by_row(prompts, states, dot):
    inputs = []
    for prompt, numbers in zip(prompts.tolist(), states.tolist(), strict=True):
        inputs.append(prompt + [dot] * (len(numbers) - 1))
    return [torch.tensor(inputs), states.clone()]


@mistake(
    "The model can read the steps here: this is the chain of thought itself. Tell it the numbers as targets, and put "
    "dots in the inputs."
)
def the_chain_itself(prompts, states, dot):
    return [torch.cat([prompts, states[:, :-1]], dim=1), states.clone()]


@mistake(
    "The targets are dots up to the last, so this model is never told a step. That is the arm with dots. What if it "
    "only lacked these targets? Ask for every number of the chain."
)
def told_nothing(prompts, states, dot):
    dots = torch.full_like(states[:, :-1], dot)
    return [torch.cat([prompts, dots], dim=1), torch.cat([dots, states[:, -1:]], dim=1)]


@mistake(
    "One dot too many. The first number is asked at the last token of the prompt, so with `steps` numbers there are "
    "`steps - 1` dots."
)
def one_dot_too_many(prompts, states, dot):
    return [torch.cat([prompts, torch.full_like(states, dot)], dim=1), states.clone()]


@mistake(
    "Inputs and targets are exchanged, or dots stand in the targets: the model reads dots, and is asked for numbers."
)
def exchanged(prompts, states, dot):
    return [torch.cat([prompts, states[:, :-1]], dim=1), torch.full_like(states, dot)]


@mistake(
    "The targets lack the first number of the chain. It is asked at the last token of the prompt, before any dot, so "
    "there is a target for each step: all of `states`."
)
def first_step_not_asked(prompts, states, dot):
    inputs, targets = told_only(prompts, states, dot)
    return [inputs, targets[:, 1:]]


OF_ANOTHER_PROBLEM = (
    "The targets are of another problem. Then they tell nothing, and the control is weaker than it has to be: tell it "
    "the numbers of its own chain."
)


@mistake(OF_ANOTHER_PROBLEM)
def of_the_row_before(prompts, states, dot):
    inputs, targets = told_only(prompts, states, dot)
    return [inputs, targets.roll(1, dims=0)]


@mistake(OF_ANOTHER_PROBLEM)
def of_another_problem(prompts, states, dot):
    inputs, targets = told_only(prompts, states, dot)
    return [inputs, targets.roll(1, dims=0) if len(targets) > 1 else targets.flip(1)]


@mistake("The dots stand before the prompt. The model answers behind it: put them there.")
def dots_first(prompts, states, dot):
    dots = torch.full_like(states[:, :-1], dot)
    return [torch.cat([dots, prompts], dim=1), states.clone()]


@mistake("Return both: a list of inputs and targets.")
def inputs_alone(prompts, states, dot):
    return told_only(prompts, states, dot)[0]


@mistake(
    "The last target is missing. The *inputs* end before it, since nobody reads it; it is the answer, and asked for."
)
def last_target_left_out(prompts, states, dot):
    inputs, targets = told_only(prompts, states, dot)
    return [inputs, targets[:, :-1]]


@mistake(
    "The targets are the answer alone. This control is told every step, only cannot read it: ask for all the numbers "
    "of the chain."
)
def told_the_answer_alone(prompts, states, dot):
    inputs, targets = told_only(prompts, states, dot)
    return [inputs, targets[:, -1:]]


@mistake(
    "The tokens of the prompt are among the targets. Only the numbers of the chain are asked for: `steps` columns."
)
def prompts_among_the_targets(prompts, states, dot):
    inputs, targets = told_only(prompts, states, dot)
    return [inputs, torch.cat([prompts[:, 1:], targets], dim=1)]


@mistake(
    "A dot stands in the place of the last token of the prompt. The prompt is read whole, and the dots come behind it, "
    "one for each number but the last."
)
def dot_over_the_prompt(prompts, states, dot):
    return [torch.cat([prompts[:, :-1], torch.full_like(states, dot)], dim=1), states.clone()]


@mistake(
    "The places of the steps are filled with 0, which is a number of the chain. Fill them with `dot`, which says "
    "nothing."
)
def zeros_for_dots(prompts, states, dot):
    return told_only(prompts, states, 0)


@mistake("The order is the other way round: return the inputs first, then the targets.")
def targets_first(prompts, states, dot):
    return told_only(prompts, states, dot)[::-1]


@mistake("All targets are dots, the answer too: this model is told nothing at all. Ask for every number of the chain.")
def all_targets_are_dots(prompts, states, dot):
    return [told_only(prompts, states, dot)[0], torch.full_like(states, dot)]


@mistake(
    "One dot too few. The first number is asked at the last token of the prompt, and each later one a token later: "
    "with `steps` numbers there are `steps - 1` dots."
)
def one_dot_too_few(prompts, states, dot):
    return [torch.cat([prompts, torch.full_like(states[:, :-2], dot)], dim=1), states.clone()]


@mistake("The prompt is dots as well, so the model cannot read its problem. Dots come behind the prompt alone.")
def prompt_is_dots_too(prompts, states, dot):
    return [torch.full_like(told_only(prompts, states, dot)[0], dot), states.clone()]


@mistake(
    "The targets are shifted by one. At the last token of the prompt the *first* number is asked for, so the targets "
    "are `states` as they are."
)
def targets_shifted(prompts, states, dot):
    return [told_only(prompts, states, dot)[0], states.roll(-1, dims=1)]


@mistake(
    "The targets have a column for every token of the inputs, with dots before the first number. Nothing is asked "
    "before the last token of the prompt, so they hold the numbers alone: `states`."
)
def targets_for_every_token(prompts, states, dot):
    inputs = torch.cat([prompts, torch.full_like(states[:, 1:], dot)], dim=1)
    return [inputs, torch.cat([torch.full_like(prompts[:, 1:], dot), states], dim=1)]


EXERCISE = Exercise(
    id="told_only",
    title="A control that is told, and cannot read",
    points=2,
    minutes=8,
    difficulty=2,
    kind="design",
    hints=(
        "What the model may know goes into the inputs, what it is told goes into the targets. At which tokens is it "
        "asked? The first number at the last token of the prompt.",
        "With `steps` numbers to say, the model reads `steps - 1` tokens behind the prompt, and none of them says "
        "anything: `torch.full_like` makes them. What is it asked for at each place? The same as the model that reads "
        "its chain.",
    ),
    reference=told_only,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 5, What a chain brings",
)

"""Capacity: an expert has room for so many tokens, and those who come too late get no answer from it."""

import math

import torch

from course_lib.exercises.spec import (
    Case,
    Exercise,
    alternative,
    alternatives_in,
    mistake,
    mistakes_in,
)


def within_capacity(weights, capacity):
    place_in_queue = (weights > 0).cumsum(dim=0)  # from 1, at each expert
    return weights * (place_in_queue <= capacity)


def cases(rng):
    def routed(tokens, experts, k):
        places = torch.rand(tokens, experts, generator=rng).topk(k, dim=-1).indices
        return torch.zeros(tokens, experts).scatter(-1, places, 0.1 + 0.8 * torch.rand(tokens, k, generator=rng))

    # For the first expert three tokens, but a weight of 1.9, less than 2; and the last one's is not the smallest.
    busy = torch.tensor([[0.8, 0.0], [0.4, 0.0], [0.0, 0.9], [0.7, 0.0], [0.0, 0.5]])
    served = torch.tensor([[0.8, 0.0], [0.4, 0.0], [0.0, 0.9], [0.0, 0.0], [0.0, 0.5]])
    few_first = (busy.flip(1) > 0) * (0.1 + 0.8 * torch.rand(busy.shape, generator=rng))
    return [
        Case("three tokens for an expert with room for two", (busy, 2), expected=served),
        Case("room for all", (routed(6, 3, 1), 6)),
        Case("20 tokens, 1 of 4 experts, room for 4", (routed(20, 4, 1), 4)),
        Case("20 tokens, 2 of 5 experts, room for 6", (routed(20, 5, 2), 6)),
        Case("room for one", (routed(8, 3, 2), 1)),
        # A count that goes on from the first expert, and an answer for the first one alone, are two mistakes.
        Case("two tokens for one expert, three for the next, room for three", (few_first, 3)),
    ]


def run_case(subject, weights, capacity):
    """Value and gradients, but no gradient of a 0, which stays 0: it depends on how the answer is written."""
    answer = subject.gradients(weights, capacity)
    gradients = [None if gradient is None else gradient * (weights > 0) for gradient in answer["gradients"]]
    return {**answer, "gradients": gradients}


@alternative
def queue_by_queue(weights, capacity):
    kept = torch.zeros_like(weights)
    for expert in range(weights.shape[1]):
        first = weights[:, expert].nonzero()[:capacity, 0]
        kept[first, expert] = weights[first, expert]
    return kept


@alternative
def one_token_after_the_other(weights, capacity):
    room, kept = [capacity] * weights.shape[1], weights.clone()
    for token, row in enumerate(weights.tolist()):
        for expert, weight in enumerate(row):
            if weight > 0:
                room[expert] -= 1
                if room[expert] < 0:
                    kept[token, expert] = 0
    return kept


@mistake("One token too few: an expert with room for `capacity` tokens takes that many, the last one included.")
def one_too_few(weights, capacity):
    return within_capacity(weights, capacity - 1)


@mistake("One token too many: the queue is counted from 0 here, and the token in place `capacity` is served as well.")
def one_too_many(weights, capacity):
    return within_capacity(weights, capacity + 1)


@mistake(
    "The weights in the queue are added up here, in place of the tokens. Count the tokens: `(weights > "
    "0).cumsum(dim=0)`."
)
def weights_added_up(weights, capacity):
    return weights * (weights.cumsum(dim=0) <= capacity)


@mistake(
    "All weights come back as they were: nobody is sent away. (`kept[rows][:, expert] = 0` changes a copy; `kept[rows, "
    "expert] = 0` changes `kept`.)"
)
def nobody_is_sent_away(weights, capacity):
    return weights.clone()


@mistake("This serves those who came too late, and sends the others away. It is the other way round.")
def late_ones_only(weights, capacity):
    return weights - within_capacity(weights, capacity)


@mistake(
    "An expert that more tokens chose than it has room for serves nobody here. It serves the first `capacity` of them."
)
def full_ones_closed(weights, capacity):
    return weights * ((weights > 0).sum(dim=0) <= capacity)


@mistake(
    "`capacity` is multiplied once more by tokens / experts. It is the number of places already, rounded up and all."
)
def taken_for_the_factor(weights, capacity):
    return within_capacity(weights, math.ceil(capacity * weights.shape[0] / weights.shape[1]))


@mistake(
    "The count goes on from one expert to the next. Each has a queue of its own: begin at 0 again for every expert."
)
def count_goes_on(weights, capacity):
    queues = (weights > 0).T  # one below the other
    place = queues.flatten().cumsum(dim=0).view_as(queues).T
    return weights * (place <= capacity)


@mistake(
    "The experts share one room of capacity times experts places. Each has a room and a queue of its own: a free place "
    "at one expert is of no use to the others."
)
def one_room_for_all(weights, capacity):
    place = (weights > 0).flatten().cumsum(dim=0).view_as(weights)
    return weights * (place <= capacity * weights.shape[1])


@mistake("Here the *last* tokens are served. Whoever comes first, is served first: count from the top.")
def last_come(weights, capacity):
    return within_capacity(weights.flip(0), capacity).flip(0)


@mistake(
    "This serves the first `capacity` tokens of the batch, whoever they want. Each expert has a queue of its own: "
    "count only the tokens that chose it."
)
def first_tokens_of_the_batch(weights, capacity):
    return weights * (torch.arange(len(weights)) < capacity)[:, None]


@mistake(
    "This counts along the experts of a token, which says how many experts the token asked. A queue is one expert's "
    "column: `cumsum(dim=0)`."
)
def along_the_experts(weights, capacity):
    return weights * ((weights > 0).cumsum(dim=1) <= capacity)


@mistake(
    "This serves the tokens with the largest weights. That would be sensible, but it looks at all tokens before it "
    "begins. Asked for is the plain queue: first come, first served."
)
def largest_weights_first(weights, capacity):
    rank = weights.argsort(dim=0, descending=True).argsort(dim=0)
    return weights * (rank < capacity)


# Of the queues that the token stands in, or of all.
ALL_OR_NOTHING = (
    "A token that one expert has no room for gets no answer from the others either. Only the full expert's weight "
    "becomes 0."
)


@mistake(ALL_OR_NOTHING)
def all_queues_or_nothing(weights, capacity):
    return weights * ((weights > 0).cumsum(dim=0) <= capacity).all(dim=1, keepdim=True)


@mistake(ALL_OR_NOTHING)
def all_or_nothing(weights, capacity):
    served = ((weights > 0) & ((weights > 0).cumsum(dim=0) > capacity)).sum(dim=1) == 0
    return weights * served[:, None]


# To the old sum; or to 1, where a token that nobody serves is 0, or NaN.
SHARED_OUT = (
    "The weights are shared out anew among the experts that are left. Leave them as they are: a token that comes too "
    "late gets less, or nothing."
)


@mistake(SHARED_OUT)
def shared_out_anew(weights, capacity):
    kept = within_capacity(weights, capacity)
    left = kept.sum(dim=1, keepdim=True)
    return kept * weights.sum(dim=1, keepdim=True) / left.where(left > 0, 1.0)


@mistake(SHARED_OUT)
def shared_out_to_1(weights, capacity):
    kept = within_capacity(weights, capacity)
    return kept / kept.sum(dim=1, keepdim=True).clamp(min=1e-9)


@mistake(SHARED_OUT)
def shared_out_to_1_or_nan(weights, capacity):
    kept = within_capacity(weights, capacity)
    return kept / kept.sum(dim=1, keepdim=True)


# As true and false, or as 1 and 0.
A_MASK = "This says who is served, yes or no. Return the weights themselves, with 0 for those who came too late."


@mistake(A_MASK)
def a_mask(weights, capacity):
    return (weights > 0) & ((weights > 0).cumsum(dim=0) <= capacity)


@mistake(A_MASK)
def a_mask_of_numbers(weights, capacity):
    return a_mask.solution(weights, capacity).to(weights.dtype)


EXERCISE = Exercise(
    id="within_capacity",
    title="Who comes too late",
    points=2,
    minutes=10,
    difficulty=2,
    kind="code",
    hints=(
        "Each column is the queue of one expert. Which place does a token have in it? The first that chose the "
        "expert has place 1, the next one place 2; those who chose another are not in this queue.",
        "`cumsum(dim=0)` of a table of true and false counts down each column: that is the place in the queue. "
        "Which places are served, and what becomes of the weights of the others?",
    ),
    reference=within_capacity,
    cases=cases,
    run_case=run_case,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, An even load",
)

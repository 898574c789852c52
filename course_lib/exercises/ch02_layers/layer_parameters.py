"""Where are the parameters? A layer's weights and biases, counted part by part."""

import torch
from torch import nn

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def layer_parameters(d_model, d_ff):
    return {
        "attention": 4 * (d_model * d_model + d_model),
        "feed_forward": d_model * d_ff + d_ff + d_ff * d_model + d_model,
        "norms": 2 * 2 * d_model,
    }


def cases(rng):
    def sizes():
        d_model, d_ff = (int(torch.randint(5, 200, (), generator=rng)) for _ in range(2))
        return d_model, d_ff + (d_ff == 4 * d_model)  # four times is what the cases by hand have

    return [
        Case("d_model 4, d_ff 16", (4, 16)),
        Case("as in BERT: d_model 768, d_ff 3072", (768, 3072)),
        *(Case(f"d_model {d_model}, d_ff {d_ff}", (d_model, d_ff)) for d_model, d_ff in (sizes(), sizes())),
    ]


@alternative
def by_building(d_model, d_ff):
    def count(*parts):
        return sum(p.numel() for part in parts for p in part.parameters())

    return {
        "attention": count(*(nn.Linear(d_model, d_model) for _ in range(4))),
        "feed_forward": count(nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)),
        "norms": count(nn.LayerNorm(d_model), nn.LayerNorm(d_model)),
    }


@alternative
def layer_by_layer(d_model, d_ff):
    def linear(inputs, outputs):
        return inputs * outputs + outputs

    attention = 0
    for _ in ("query", "key", "value", "output"):
        attention += linear(d_model, d_model)
    feed_forward = linear(d_model, d_ff) + linear(d_ff, d_model)
    norm = d_model + d_model
    return {"attention": attention, "feed_forward": feed_forward, "norms": 2 * norm}


@mistake("The biases are missing: a linear layer from m to n numbers has m * n weights and n biases.")
def no_biases(d_model, d_ff):
    return {"attention": 4 * d_model**2, "feed_forward": 2 * d_model * d_ff, "norms": 4 * d_model}


@mistake(
    "The biases of attention are missing: each of its four linear layers has d_model * d_model weights and d_model "
    "biases."
)
def attention_without_biases(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"attention": 4 * d_model**2}


@mistake(
    "The biases of the feed-forward network are missing: a linear layer from m to n numbers has m * n weights and n "
    "biases."
)
def feed_forward_without_biases(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"feed_forward": 2 * d_model * d_ff}


@mistake("Attention has four matrices: queries, keys, values, and the one that mixes the heads' results.")
def three_matrices(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"attention": 3 * (d_model**2 + d_model)}


@mistake("There are two norms, one before each half, and each has a gain and a bias.")
def one_norm(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"norms": 2 * d_model}


@mistake("The feed-forward network goes up and comes down again: two matrices.")
def way_up_alone(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"feed_forward": d_model * d_ff + d_ff}


@mistake(
    "Both biases of the feed-forward network are counted as d_model. A linear layer has a bias for each number that it "
    "returns: the first one d_ff, the second one d_model."
)
def both_biases_of_the_model(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"feed_forward": 2 * d_model * d_ff + 2 * d_model}


@mistake(
    "Both biases of the feed-forward network are counted as d_ff. A linear layer has a bias for each number that it "
    "returns: the first one d_ff, the second one d_model."
)
def both_biases_of_the_inside(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"feed_forward": 2 * d_model * d_ff + 2 * d_ff}


@mistake("The feed-forward network is d_ff wide inside, and that need not be four times d_model.")
def always_four_times_wider(d_model, d_ff):
    return layer_parameters(d_model, 4 * d_model)


@mistake("Attention has one bias here for its four linear layers. Each of them has its own.")
def one_bias_of_attention(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"attention": 4 * d_model**2 + d_model}


@mistake("Attention has a single linear layer here. It has four: queries, keys, values, and the one behind them.")
def one_matrix(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"attention": d_model**2 + d_model}


ONE_BIAS = (
    "The feed-forward network has one bias here. Both of its linear layers have one, with a number for each output: "
    "d_ff in the first, d_model in the second."
)


@mistake(ONE_BIAS)
def first_bias_alone(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"feed_forward": 2 * d_model * d_ff + d_ff}


@mistake(ONE_BIAS)
def second_bias_alone(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"feed_forward": 2 * d_model * d_ff + d_model}


@mistake(
    "Gain and bias of a norm are single numbers here. Both are vectors: a number for each of the d_model features."
)
def norms_of_single_numbers(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"norms": 4}


@mistake("The bias of a norm is a single number here. Like the gain it has one for each of the d_model features.")
def bias_of_a_norm_is_one_number(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"norms": 2 * (d_model + 1)}


@mistake("The norms have matrices here. Gain and bias are vectors of d_model numbers.")
def norms_of_matrices(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"norms": 2 * d_model**2}


@mistake("One norm is counted as d_ff wide. Both stand before a half of the layer, where it is d_model wide.")
def norm_of_the_inside(d_model, d_ff):
    return layer_parameters(d_model, d_ff) | {"norms": 2 * d_model + 2 * d_ff}


EXERCISE = Exercise(
    id="layer_parameters",
    title="Where are the parameters?",
    points=1,
    minutes=6,
    difficulty=1,
    kind="derive",
    hints=(
        "A linear layer from m to n numbers has m * n + n parameters. How many linear layers has attention?",
        "attention: four of d_model to d_model; feed-forward: d_model to d_ff and back; norms: two, with a gain and a "
        "bias of d_model each.",
    ),
    reference=layer_parameters,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, What a layer is made of",
)

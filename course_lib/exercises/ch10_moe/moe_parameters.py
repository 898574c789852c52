"""How many parameters a mixture of experts has, and how many a token uses."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def moe_parameters(n_layers, d_model, d_ff, n_experts, top_k, rest):
    expert = 3 * d_model * d_ff
    router = d_model * n_experts
    return {
        "total": rest + n_layers * (router + n_experts * expert),
        "active": rest + n_layers * (router + top_k * expert),
    }


MIXTRAL = (32, 4096, 14336, 8, 2, 1_604_587_520)  # mistralai/Mixtral-8x7B-v0.1, config.json


def cases(rng):
    def some(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    n_experts = some(3, 8)
    return [
        Case("2 layers by hand", (2, 10, 20, 4, 1, 1000), expected={"total": 5880, "active": 2280}),
        Case("Mixtral 8x7B", MIXTRAL, expected={"total": 46_702_792_704, "active": 12_879_925_248}),
        Case("all experts answer", (some(2, 6), some(10, 40), some(20, 60), n_experts, n_experts, some(300, 900))),
        Case("64 small experts, 6 of them answer", (some(3, 7), some(20, 60), some(6, 19), 64, 6, 0)),
    ]


@alternative
def layer_by_layer(n_layers, d_model, d_ff, n_experts, top_k, rest):
    counts = {"total": rest, "active": rest}
    for _ in range(n_layers):
        for name, experts in (("total", n_experts), ("active", top_k)):
            counts[name] += n_experts * d_model + experts * (d_ff * d_model + d_ff * d_model + d_model * d_ff)
    return counts


@alternative
def idle_ones_subtracted(n_layers, d_model, d_ff, n_experts, top_k, rest):
    experts = 3 * n_layers * n_experts * d_model * d_ff
    total = rest + experts + n_layers * n_experts * d_model
    return {"total": total, "active": total - experts * (n_experts - top_k) // n_experts}


def counted(n_layers, d_model, d_ff, n_experts, top_k, rest, matrices=3, routers=(1, 1)):
    """Both counts, with another number of matrices in an expert, or other shares of the router."""
    return {
        name: rest + round(n_layers * share * d_model * n_experts) + n_layers * experts * matrices * d_model * d_ff
        for name, experts, share in zip(("total", "active"), (n_experts, top_k), routers, strict=True)
    }


@mistake("An expert has three matrices, not two: up, gate and down.")
def two_matrices(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, matrices=2)


@mistake("The routers are missing: in each layer a matrix from d_model to n_experts.")
def no_router(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, routers=(0, 0))


@mistake("The routers are active, and yet missing in the total: in each layer a matrix from d_model to n_experts.")
def router_is_not_stored(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, routers=(0, 1))


@mistake("The router counts among the active parameters too: it has to look at every token, and at every expert.")
def router_is_idle(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, routers=(1, 0))


@mistake("To know who the best are, the router needs a logit of *all* experts: the whole router is active.")
def router_of_the_chosen(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, routers=(1, top_k / n_experts))


@mistake(
    "Every layer has experts of its own: multiply by n_layers. (The rest is counted over all layers already, once.)"
)
def one_layer(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(1, d_model, d_ff, n_experts, top_k, rest)


@mistake("The rest is in every layer here. `rest` counts it over all layers already: add it once.")
def rest_in_every_layer(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, n_layers * rest)


@mistake("There is one router here. Every layer has its own, since every layer has experts of its own.")
def one_router(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, routers=(1 / n_layers, 1 / n_layers))


@mistake(
    "The routers of all layers are here, but the experts of one. Multiply these by n_layers too: mind the brackets."
)
def experts_of_one_layer(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(1, d_model, d_ff, n_experts, top_k, rest, routers=(n_layers, n_layers))


@mistake("An expert has three matrices here, not one: up, gate and down.")
def one_matrix(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, rest, matrices=1)


# With the routers, or without.
REST_IS_IDLE = (
    "What every token passes through belongs to the active parameters too: the rest (attention, embeddings, norms), "
    "and the routers."
)


def only_total(n_layers, d_model, d_ff, n_experts, top_k, rest, active):
    """The right total, beside a wrong number of active ones."""
    return {**moe_parameters(n_layers, d_model, d_ff, n_experts, top_k, rest), "active": active}


@mistake(REST_IS_IDLE)
def rest_is_idle(n_layers, d_model, d_ff, n_experts, top_k, rest):
    active = n_layers * (d_model * n_experts + top_k * 3 * d_model * d_ff)
    return only_total(n_layers, d_model, d_ff, n_experts, top_k, rest, active)


@mistake(REST_IS_IDLE)
def only_experts_are_active(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return only_total(n_layers, d_model, d_ff, n_experts, top_k, rest, n_layers * top_k * 3 * d_model * d_ff)


@mistake('"active" counts one expert in each layer. Of the experts, top_k answer.')
def one_expert_answers(n_layers, d_model, d_ff, n_experts, top_k, rest):
    active = rest + n_layers * (d_model * n_experts + 3 * d_model * d_ff)
    return only_total(n_layers, d_model, d_ff, n_experts, top_k, rest, active)


@mistake('"active" counts one layer. A token passes through all of them: multiply by n_layers there too.')
def active_in_one_layer(n_layers, d_model, d_ff, n_experts, top_k, rest):
    active = rest + d_model * n_experts + top_k * 3 * d_model * d_ff
    return only_total(n_layers, d_model, d_ff, n_experts, top_k, rest, active)


@mistake('The two numbers are exchanged: "total" is what is stored, "active" what one token uses.')
def exchanged(n_layers, d_model, d_ff, n_experts, top_k, rest):
    right = moe_parameters(n_layers, d_model, d_ff, n_experts, top_k, rest)
    return {"total": right["active"], "active": right["total"]}


@mistake("The rest is missing: attention, embeddings and norms, which every token uses.")
def without_the_rest(n_layers, d_model, d_ff, n_experts, top_k, rest):
    return counted(n_layers, d_model, d_ff, n_experts, top_k, 0)


# With routers, or without.
WHOLE_MODELS = (
    "The rest is multiplied by the number of experts, as the name 8x7B suggests. Only the feed-forward networks exist "
    "several times; attention and embeddings exist once, and each layer has a router."
)


@mistake(WHOLE_MODELS)
def whole_models_without_routers(n_layers, d_model, d_ff, n_experts, top_k, rest):
    model = rest + n_layers * 3 * d_model * d_ff
    return {"total": n_experts * model, "active": top_k * model}


@mistake(WHOLE_MODELS)
def whole_models(n_layers, d_model, d_ff, n_experts, top_k, rest):
    both = counted(n_layers, d_model, d_ff, n_experts, top_k, 0)
    return {"total": both["total"] + n_experts * rest, "active": both["active"] + top_k * rest}


@mistake(
    "The active ones are not top_k / n_experts of all parameters: only the experts are left out. The rest and the "
    "router serve every token."
)
def share_of_everything(n_layers, d_model, d_ff, n_experts, top_k, rest):
    total = moe_parameters(n_layers, d_model, d_ff, n_experts, top_k, rest)["total"]
    return {"total": total, "active": total * top_k // n_experts}


EXERCISE = Exercise(
    id="moe_parameters",
    title="Total and active",
    points=1,
    minutes=8,
    difficulty=1,
    kind="derive",
    hints=(
        "Count one layer: its router, and its experts of three matrices each. What is stored has all experts in it, "
        "what a token uses has top_k.",
        "An expert has 3 * d_model * d_ff parameters, and a router reads d_model numbers and gives n_experts. Both "
        "stand in each layer, the rest does not. For a token, all of the router is active, and of the experts those "
        "that answer.",
    ),
    reference=moe_parameters,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 10, Total and active",
)

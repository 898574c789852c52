"""Mixture of experts: of many feed-forward networks, each token passes through the few that a router picks for it."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.nn.feed_forward import GatedFeedForward
from course_lib.nn.kernels.experts import grouped_experts, tokens_per_expert


class Routing(NamedTuple):
    """The experts that a layer chose for its tokens; the tokens of all sequences are numbered consecutively.

    Attributes:
        logits: The router's scores of all experts.
        experts: The chosen experts, best first.
        weights: The weights of their outputs; 0 if the expert had no room left.
    """

    logits: Float[Tensor, "tokens n_experts"]
    experts: Int[Tensor, "tokens top_k"]
    weights: Float[Tensor, "tokens top_k"]


def route(
    logits: Float[Tensor, "tokens n_experts"],
    top_k: int,
    *,
    norm_topk_prob: bool = True,
    bias: Float[Tensor, " n_experts"] | None = None,
    capacity: int | None = None,
) -> Routing:
    """Choose for each token the `top_k` experts with the largest softmax(logits), which is also their weight.

    Args:
        logits: The router's scores of all experts.
        top_k: The number of experts per token.
        norm_topk_prob: Divide the weights of a token by their sum (Mixtral, Jiang et al. 2024, section 2.1).
        bias: Added to the probabilities for the choice only, not for the weights (Wang et al. 2024, equation 3).
        capacity: The most tokens that an expert takes; None for no limit. First choices are served before second ones,
            and among equal choices earlier tokens before later ones, as in GShard (Lepikhin et al. 2020, algorithm 1).
            Choices beyond the capacity get the weight 0, so a token's output depends on the other tokens in its batch.
    """
    scores = logits.float().softmax(dim=-1)  # tokens n_experts
    experts = (scores if bias is None else scores + bias).topk(top_k, dim=-1).indices
    weights = scores.gather(-1, experts)  # tokens top_k
    if norm_topk_prob:  # the clamp is for a bias that chose experts whose scores are all 0
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    if capacity is not None:
        chosen = F.one_hot(experts.t().flatten(), logits.shape[-1])  # top_k*tokens n_experts, first choices first
        position_in_expert = (chosen.cumsum(dim=0) * chosen).sum(dim=-1)  # top_k*tokens, from 1
        weights = weights.masked_fill(position_in_expert.view(top_k, -1).t() > capacity, 0.0)
    return Routing(logits, experts, weights)


def expert_loads(routing: Routing) -> Float[Tensor, " n_experts"]:
    """Compute each expert's share of all choices in a layer; the shares add up to 1."""
    n_tokens = tokens_per_expert(routing.experts, routing.logits.shape[-1])
    return n_tokens / n_tokens.sum()


def load_balancing_loss(logits: Float[Tensor, "tokens n_experts"], top_k: int) -> Float[Tensor, ""]:
    """Compute the load-balancing loss, which is low if tokens are spread evenly over the experts.

    It is n_experts times the sum, over experts, of the share of tokens that chose the expert times its mean
    probability: `top_k` for a uniform router, and n_experts if every token gives all its probability to the same
    expert. Call it layer by layer: over the logits of all layers together, as Mixtral was trained, another layer's
    choices can make up for an expert that is idle in one layer.

    Args:
        logits: The router's logits; if a batch has padding, those of real tokens only.
        top_k: The number of experts per token.

    Source: Fedus et al. 2021, equations 4 to 6, where top_k is 1.
    """
    probabilities = logits.float().softmax(dim=-1)  # tokens n_experts
    n_tokens, n_experts = probabilities.shape
    chosen = tokens_per_expert(probabilities.topk(top_k, dim=-1).indices, n_experts)
    return n_experts * (chosen / n_tokens * probabilities.mean(dim=0)).sum()


def router_z_loss(logits: Float[Tensor, "tokens n_experts"]) -> Float[Tensor, ""]:
    """Compute the mean of logsumexp(logits)^2, which keeps the router's logits small.

    Source: Zoph et al. 2022, equation 5.
    """
    return logits.float().logsumexp(dim=-1).square().mean()


def update_selection_bias(
    bias: Float[Tensor, " n_experts"], load: Float[Tensor, " n_experts"], rate: float = 1e-3
) -> Float[Tensor, " n_experts"]:
    """Raise the bias by `rate` for experts with less than the mean load, and lower it for those with more.

    This balances the load without a loss or a gradient.

    Args:
        bias: The bias of the choice; see `route`.
        load: Each expert's share of the choices.
        rate: The step size; the default is the paper's.

    Source: Wang et al. 2024, algorithm 1.
    """
    return bias + rate * (load.mean() - load).sign()


def mix_experts(
    x: Float[Tensor, "tokens d_model"],
    gate: Float[Tensor, "n_experts d_ff d_model"],
    up: Float[Tensor, "n_experts d_ff d_model"],
    down: Float[Tensor, "n_experts d_model d_ff"],
    experts: Int[Tensor, "tokens top_k"],
    weights: Float[Tensor, "tokens top_k"],
) -> Float[Tensor, "tokens d_model"]:
    """Compute the weighted sum of the outputs of each token's experts, the networks down(silu(gate(x)) * up(x)).

    This is the plain form, one expert after the other. The layer runs `kernels.experts.grouped_experts`, which is
    tested to give the same result.

    Args:
        x: The vectors of the tokens of all sequences.
        gate: The gate matrices of all experts, each laid out as in nn.Linear.
        up: The up matrices, likewise.
        down: The down matrices, likewise.
        experts: The experts that the router chose for each token.
        weights: The weights of their outputs.

    Source: Shazeer et al. 2017, equation 1.
    """
    output = torch.zeros_like(x)
    for expert in range(len(gate)):
        tokens, choice = (experts == expert).nonzero(as_tuple=True)  # which tokens chose it, and as which choice
        rows = x[tokens]  # rows d_model
        hidden = F.silu(rows @ gate[expert].T) * (rows @ up[expert].T)  # rows d_ff
        output = output.index_add(0, tokens, weights[tokens, choice, None] * (hidden @ down[expert].T))
    return output


class MoE(nn.Module):
    """A mixture-of-experts layer: each token passes through `top_k` of its SwiGLU networks, and through a shared one.

    `routing` holds the Routing of the last forward pass.

    Args:
        d_model: The width of input and output.
        d_ff: The width of an expert.
        n_experts: The number of experts, the shared one aside.
        top_k: The number of experts per token.
        norm_topk_prob: Whether the weights of a token are divided by their sum; see `route`.
        d_shared: The width of the shared expert, which all tokens pass through; 0 for none.
        shared_gate: Scale the output of the shared expert by a sigmoid of a linear map of the token (Qwen2-MoE).
        capacity_factor: An expert takes at most this times tokens * top_k / n_experts; None for no limit.
        balanced_by_bias: Keep a `selection_bias`, which is not trained; see `update_selection_biases`.

    Raises:
        ValueError: If the settings do not fit together.

    Source: Shazeer et al. 2017, section 2; Fedus et al. 2021, section 2; Dai et al. 2024 for the shared expert.
    """

    selection_bias: Tensor | None
    tokens_per_expert: Tensor | None

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        n_experts: int,
        top_k: int = 2,
        *,
        norm_topk_prob: bool = True,
        d_shared: int = 0,
        shared_gate: bool = False,
        capacity_factor: float | None = None,
        balanced_by_bias: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k={top_k} must lie between 1 and n_experts={n_experts}")
        if shared_gate and not d_shared:
            raise ValueError("shared_gate=True needs a shared expert; set d_shared to its width")
        if capacity_factor is not None and not capacity_factor > 0:
            raise ValueError(f"capacity_factor={capacity_factor} must be more than 0, or None to drop nothing")
        self.top_k = top_k
        self.norm_topk_prob = norm_topk_prob
        self.capacity_factor = capacity_factor
        self.router = nn.Linear(d_model, n_experts, bias=False)
        # The matrices of all experts in one tensor, each laid out as in nn.Linear.
        self.gate = nn.Parameter(torch.empty(n_experts, d_ff, d_model))
        self.up = nn.Parameter(torch.empty(n_experts, d_ff, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, d_ff))
        self.shared = GatedFeedForward(d_model, d_shared) if d_shared else None
        self.shared_gate = nn.Linear(d_model, 1, bias=False) if shared_gate else None
        self.register_buffer("selection_bias", torch.zeros(n_experts) if balanced_by_bias else None)
        # Choices since the last update of the bias: a step may read several batches. It is 0 whenever a run is saved.
        # It is in no file, so it is made at once where all else is still without memory (the meta device).
        place = "cpu" if torch.get_default_device().type == "meta" else None
        counts = torch.zeros(n_experts, dtype=torch.long, device=place) if balanced_by_bias else None
        self.register_buffer("tokens_per_expert", counts, persistent=False)
        self.routing: Routing | None = None
        for weight in self.expert_weights:
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[-1]))

    @property
    def expert_weights(self) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
        """The matrices of all experts."""
        return self.gate, self.up, self.down

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Apply the layer to each token; the router always computes in float32 (Fedus et al. 2021, section 2.4)."""
        tokens = x.reshape(-1, x.shape[-1])  # tokens d_model
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(tokens.float(), self.router.weight.float())  # tokens n_experts
        capacity = None
        if self.capacity_factor is not None:
            capacity = math.ceil(self.capacity_factor * len(tokens) * self.top_k / logits.shape[-1])
        self.routing = routing = route(
            logits, self.top_k, norm_topk_prob=self.norm_topk_prob, bias=self.selection_bias, capacity=capacity
        )
        if self.training and self.tokens_per_expert is not None:
            self.tokens_per_expert.add_(tokens_per_expert(routing.experts, logits.shape[-1]))
        # The same as `mix_experts`, with all experts at once.
        output = grouped_experts(tokens, *self.expert_weights, routing.experts, routing.weights)  # tokens d_model
        if self.shared is not None:
            shared = self.shared(tokens)  # tokens d_model
            if self.shared_gate is not None:
                shared = shared * self.shared_gate(tokens).sigmoid()
            output = output + shared
        return output.view_as(x)  # *batch d_model

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"routing": None}  # a copied or pickled layer has not run yet


def moe_layers(model: nn.Module) -> list[MoE]:
    """Return the model's mixture-of-experts layers, from input to output."""
    return [module for module in model.modules() if isinstance(module, MoE)]


def routings(model: nn.Module) -> list[Routing]:
    """Return the routing of each mixture-of-experts layer in its last forward pass, for losses and figures.

    Raises:
        ValueError: If the model has no such layer, or has not run yet.
    """
    layers = moe_layers(model)
    if not layers:
        raise ValueError("the model has no mixture-of-experts layer")
    found = [layer.routing for layer in layers if layer.routing is not None]
    if len(found) < len(layers):
        raise ValueError("the model has not run yet; call it first")
    return found


@torch.no_grad()
def update_selection_biases(model: nn.Module, rate: float = 1e-3) -> None:
    """Update every layer's selection bias from its loads in all forward passes in training mode since the last update.

    Call it once per training step, after the update by the gradient. If gradients are accumulated, the loads are thus
    those of all batches of the step, as the gradient is. Without a forward pass the bias stays as it is.

    Args:
        model: A model with layers that are balanced by bias.
        rate: The step size; see `update_selection_bias`.
    """
    for layer in moe_layers(model):
        if layer.selection_bias is not None and layer.tokens_per_expert is not None:
            load = layer.tokens_per_expert / layer.tokens_per_expert.sum().clamp(min=1)
            layer.selection_bias.copy_(update_selection_bias(layer.selection_bias, load, rate))
            layer.tokens_per_expert.zero_()


def count_active_parameters(model: nn.Module) -> int:
    """Count the parameters that one token uses: all of them, except that of each layer's experts only `top_k` count."""
    active = sum(parameter.numel() for parameter in model.parameters())
    for layer in moe_layers(model):
        n_idle = len(layer.gate) - layer.top_k
        active -= n_idle * sum(stack[0].numel() for stack in layer.expert_weights)
    return active

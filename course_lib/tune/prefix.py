"""Prefix tuning: trained keys and values in front of those of the tokens (Li and Liang 2021)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from course_lib.models.gpt import GPT
from course_lib.nn.attention import AppendToCache, MultiHeadAttention, add_causal_mask
from course_lib.nn.cache import KVCache
from course_lib.nn.positions import Rotary
from course_lib.nn.storage import at_least_float32
from course_lib.tune.frozen import begin_tuning, check_tunable


class Prefixed(nn.Module):
    """Attention over [P_k; K] and [P_v; V]: every query attends to `n` trained pairs besides its usual keys.

    The pairs have no position: RoPE does not rotate their keys, and no bias of ALiBi or T5 is added for them. Arguments
    and results are those of the wrapped layer, except for `n` more keys in its attention weights.

    Source: Li and Liang 2021, equation 3.
    """

    def __init__(self, attention: MultiHeadAttention, n: int) -> None:
        super().__init__()
        self.attention = attention
        weight = attention.qkv.weight
        shape = (attention.n_kv_heads, n, attention.head_dim)
        dtype = at_least_float32(weight.dtype)  # lower precision would lose small updates
        # All different, or they would stay alike; small, so that at first they only dampen the other values.
        self.key = nn.Parameter(0.02 * torch.randn(shape, dtype=dtype, device=weight.device))
        self.value = nn.Parameter(0.02 * torch.randn(shape, dtype=dtype, device=weight.device))

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_model"],
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        rotary: Rotary | None = None,
        head_mask: Float[Tensor, " heads"] | None = None,
        attention_weights: list[Tensor] | None = None,
        *,
        causal: bool = False,
        memory: Float[Tensor, "batch memory d_model"] | None = None,
        cache: AppendToCache | None = None,
    ) -> Float[Tensor, "batch tokens d_model"]:
        """Compute attention with the prefix; all arguments are those of `MultiHeadAttention.forward`."""
        n = self.key.shape[1]
        if causal:  # torch's kernel supports causality only for as many queries as keys
            mask = add_causal_mask(mask, x.shape[1], x.device)
        if mask is not None:
            if cache is None:  # so that a mask without an axis of keys gets one
                mask = mask.expand(*mask.shape[:-1], (x if memory is None else memory).shape[1])  # ... keys
            mask = F.pad(mask, (n, 0), value=True)  # ... n+keys
        if bias is not None:
            bias = F.pad(bias, (n, 0))  # ... n+keys

        # Attention calls `cache(key, value)` after the projection and RoPE, and attends to all pairs that it returns,
        # since a cache puts those of earlier tokens in front there. So does this function with the prefix.
        def with_prefix(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            if cache is not None:
                key, value = cache(key, value)  # batch kv_heads keys head_dim
            shape = (len(key), -1, -1, -1)
            keys = torch.cat((self.key.to(key.dtype).expand(shape), key), dim=2)  # batch kv_heads n+keys head_dim
            values = torch.cat((self.value.to(value.dtype).expand(shape), value), dim=2)
            return keys, values

        return self.attention(x, mask, bias, rotary, head_mask, attention_weights, memory=memory, cache=with_prefix)


def add_prefix(model: nn.Module, n: int, prompt: Int[Tensor, " n"] | None = None) -> nn.Module:
    """Freeze the model and put `n` trained keys and values in front of those of every attention layer, in place.

    The tokens keep their positions. They are trained directly; `reparametrize` trains them as the paper does.

    Args:
        model: A model with layers of `course_lib.nn.attention.MultiHeadAttention`.
        n: The number of keys and values per layer.
        prompt: Ids of n tokens whose keys and values initialise the prefix, which is better with few examples (section
            7.4); the model must then be a GPT. None for small random numbers.

    Returns:
        The same model.

    Raises:
        ValueError: If n is below 1, the prompt has another length, a prompt is given for a model other than a GPT, or
            the model has no such attention layer, is tuned already or is quantized.
    """
    if n < 1:
        raise ValueError(f"a prefix of n={n} changes nothing; take at least 1")
    check_tunable(model)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, MultiHeadAttention)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no attention layer to put a prefix in")
    start = None if prompt is None else _read(model, n, prompt)
    begin_tuning(model, "prefix", n=n)
    for i, (name, layer) in enumerate(layers.items()):
        prefixed = Prefixed(layer, n)
        if start:
            prefixed.key.data, prefixed.value.data = (pairs[i, 0].to(prefixed.key.dtype) for pairs in start)
        model.set_submodule(name, prefixed)
    return model


class PrefixNetwork(nn.Module):
    """A trained vector for each place of the prefix, and a network that makes the place's keys and values from it."""

    def __init__(self, layers: list[Prefixed], hidden: int) -> None:
        super().__init__()
        key, d_model = layers[0].key, layers[0].attention.qkv.in_features
        self.shape = kv_heads, n, head_dim = key.shape
        width = 2 * len(layers) * kv_heads * head_dim
        self.places = nn.Parameter(torch.randn(n, d_model, dtype=key.dtype, device=key.device))
        into, out = nn.Linear(d_model, hidden), nn.Linear(hidden, width)
        self.net = nn.Sequential(into, nn.Tanh(), out).to(key)  # activation and sizes as in the authors' code

    def forward(self) -> Float[Tensor, "layers 2 kv_heads n head_dim"]:
        """Compute the keys and values of all layers."""
        kv_heads, n, head_dim = self.shape
        pairs = self.net(self.places)  # n layers*2*kv_heads*head_dim
        return pairs.view(n, -1, 2, kv_heads, head_dim).permute(1, 2, 3, 0, 4)  # layers 2 kv_heads n head_dim


class _FromNetwork(nn.Module):
    """The parametrization of the keys (`which` = 0) or the values (1) of one layer."""

    def __init__(self, network: PrefixNetwork, layer: int, which: int) -> None:
        super().__init__()
        self.network, self.layer, self.which = network, layer, which

    def forward(self, start: Float[Tensor, "kv_heads n head_dim"]) -> Float[Tensor, "kv_heads n head_dim"]:
        return start + self.network()[self.layer, self.which]


def reparametrize(model: nn.Module, hidden: int) -> nn.Module:
    """Compute the prefix by a network of one hidden layer, which is trained in its place.

    Directly trained prefixes were less stable in the paper, and did slightly worse (section 4.3). What the network
    gives is added to the keys and values that are there. `drop_network` ends this: call it before saving the prefix.

    Args:
        model: What `add_prefix` returns; it changes in place.
        hidden: The width of the network's hidden layer.

    Returns:
        The same model.
    """
    layers = [part for part in model.modules() if isinstance(part, Prefixed)]
    network = PrefixNetwork(layers, hidden)
    for i, layer in enumerate(layers):
        for which, name in enumerate(("key", "value")):
            getattr(layer, name).requires_grad_(False)
            parametrize.register_parametrization(layer, name, _FromNetwork(network, i, which))
    return model


def drop_network(model: nn.Module) -> nn.Module:
    """Keep the prefix that the network of `reparametrize` gives, if there is one, and drop the network, in place.

    Returns:
        The same model, which computes the same as before.
    """
    for layer in model.modules():
        if isinstance(layer, Prefixed) and parametrize.is_parametrized(layer):
            for name in ("key", "value"):
                parametrize.remove_parametrizations(layer, name)
                getattr(layer, name).requires_grad_()
    return model


@torch.no_grad()
def _read(model: nn.Module, n: int, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the keys and values of a prompt in the model, each of shape "layers 1 kv_heads n head_dim"."""
    if not isinstance(model, GPT):
        raise ValueError(f"a {type(model).__name__} does not read a prompt from left to right; leave it out")
    if len(prompt) != n:
        raise ValueError(f"the prompt has {len(prompt)} tokens, but the prefix is to have {n}")
    weight = model.token_embedding.weight
    cache = KVCache(model.config, 1, n, dtype=weight.dtype, device=weight.device)
    model(prompt[None].to(weight.device), cache=cache)
    return cache.keys, cache.values

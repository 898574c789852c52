"""Five ways to tell a transformer where its tokens are: sinusoidal, learned, RoPE, ALiBi, T5's relative bias.

Each module is called with a number of positions n, for positions 0 to n-1, and a device. It can also be given the
positions of every sequence, for example when several documents share a row and each counts from 0.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Positions = Int[Tensor, "batch n"]
Rotary = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]  # cosines and sines, for `rotate`


def sinusoidal_table(n: int, d: int) -> Float[Tensor, "n d"]:
    """Compute the sinusoidal position encodings of positions 0 to n-1.

    Row p has sin(p w_i) in its even columns 2i and cos(p w_i) in its odd columns 2i+1, with w_i = 10000^(-2i/d).

    Raises:
        ValueError: If d is odd.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if d % 2:
        raise ValueError(f"sinusoidal positions pair up their columns; d = {d} must be even")
    angle = torch.arange(n)[:, None] * 10000.0 ** (-torch.arange(0, d, 2) / d)  # n d/2
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)  # n d


class SinusoidalPositions(nn.Module):
    """Sinusoidal position encodings of width `d_model`, for any number of positions.

    `table` is the function that computes them; you can assign your own function (n, d) to it.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.d_model = d_model
        self.table: Callable[[int, int], Tensor] = sinusoidal_table

    def forward(
        self, n: int, device: torch.device | None = None, positions: Positions | None = None
    ) -> Float[Tensor, "*batch n d_model"]:
        """Return the encodings of positions 0 to n-1, or of those given."""
        if positions is None:
            return self.table(n, self.d_model).to(device)
        return self.table(int(positions.max()) + 1, self.d_model).to(device)[positions]


class LearnedPositions(nn.Module):
    """Learned position embeddings: one trained vector for each position.

    Longer sequences raise an error, unless `share_last` is set to True: all later positions then get the last vector.

    Args:
        context: The number of positions.
        d_model: The width of a vector.
    """

    def __init__(self, context: int, d_model: int) -> None:
        super().__init__()
        self.share_last = False
        self.weight = nn.Parameter(torch.empty(context, d_model))
        nn.init.normal_(self.weight, std=0.02)

    def forward(
        self, n: int, device: torch.device | None = None, positions: Positions | None = None
    ) -> Float[Tensor, "*batch n d_model"]:
        """Return the vectors of positions 0 to n-1, or of those given.

        Raises:
            ValueError: If a position has no vector; for given positions, on the CPU only.
        """
        context = len(self.weight)
        if positions is None:
            if n <= context:
                return self.weight[:n]
            if not self.share_last:
                raise ValueError(self._too_long(n))
            positions = torch.arange(n, device=device)
        if self.share_last:
            positions = positions.clamp(max=context - 1)
        try:
            return self.weight[positions]
        except IndexError:
            raise ValueError(self._too_long(int(positions.max()) + 1)) from None

    def _too_long(self, n: int) -> str:
        return f"the sequence has {n} tokens, but the model has {len(self.weight)} positions; pass a shorter one"


class RotaryPositions(nn.Module):
    """The angles of RoPE as cosines and sines: position times theta^(-2i/head_dim), the frequency of pair i.

    Args:
        head_dim: The width of a head; its numbers are rotated in pairs.
        theta: The base of the frequencies.

    Raises:
        ValueError: If head_dim is odd.

    Source: Su et al. 2021, equation 15.
    """

    def __init__(self, head_dim: int, theta: float = 10000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"rotary positions turn pairs of numbers; head_dim = {head_dim} must be even")
        self.head_dim = head_dim
        self.theta = theta

    def forward(
        self, n: int, device: torch.device | None = None, positions: Positions | None = None
    ) -> tuple[Float[Tensor, "*heads n half"], Float[Tensor, "*heads n half"]]:
        """Compute the cosines and sines for positions 0 to n-1, or for those given.

        For given positions they have an axis of size 1 for the heads. They are computed again on every call: compared
        with a forward pass, they cost nothing.
        """
        frequency = self.theta ** (-torch.arange(0, self.head_dim, 2, device=device) / self.head_dim)
        positions = torch.arange(n, device=device) if positions is None else positions[..., None, :]
        angle = positions[..., None] * frequency  # (batch 1) n head_dim/2
        return angle.cos(), angle.sin()


def rotate(
    x: Float[Tensor, "*batch n head_dim"], cos: Float[Tensor, "*#batch n half"], sin: Float[Tensor, "*#batch n half"]
) -> Float[Tensor, "*batch n head_dim"]:
    """Rotate each pair (x[i], x[i + head_dim/2]) by its angle.

    The paper pairs neighbours; Llama's published weights are stored for the pairs used here. Either way, the product of
    a rotated query and a rotated key depends only on their contents and their distance.

    Source: Su et al. 2021, section 3.2 (RoPE).
    """
    cos = torch.cat((cos, cos), dim=-1).to(x.dtype)
    sin = torch.cat((-sin, sin), dim=-1).to(x.dtype)
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin  # rolled by half, each number meets its partner


def alibi_slopes(n_heads: int) -> Float[Tensor, " heads"]:
    """Compute the ALiBi slopes of n heads: 2^(-8/n), 2^(-16/n), and so on down to 1/256.

    If n is not a power of two, the slopes are those of the next lower power, followed by every second slope of the next
    higher power, as in the authors' code.

    Source: Press et al. 2021, section 3.
    """
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = 2.0 ** (-8 / power * torch.arange(1, power + 1))
    if power == n_heads:
        return slopes
    return torch.cat((slopes, alibi_slopes(2 * power)[::2][: n_heads - power]))


class ALiBi(nn.Module):
    """ALiBi: a bias of -slope times distance on the scores; `slopes` is not trained and can be overwritten.

    Source: Press et al. 2021, section 3.
    """

    slopes: Tensor

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(n_heads))

    def forward(
        self,
        n: int,
        device: torch.device | None = None,
        positions: Positions | None = None,
        key_positions: Int[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "*batch heads n key"]:
        """Compute the bias between positions 0 to n-1, or between those given.

        Args:
            n: The number of queries.
            device: Not used: the result is on the device of `slopes`.
            positions: The positions of the queries.
            key_positions: The positions of the keys, if they differ from those of the queries.
        """
        positions = torch.arange(n, device=self.slopes.device) if positions is None else positions
        return -self.slopes[:, None, None] * _relative(positions, key_positions).abs().unsqueeze(-3)


class T5RelativeBias(nn.Module):
    """T5's relative position bias: a trained bias on the scores for each head and each bucket of distances.

    Small distances have a bucket each; larger ones share buckets on a logarithmic scale up to `max_distance`.

    Args:
        n_heads: The number of heads; each has its own biases.
        n_buckets: The number of buckets. A causal model uses all of them for the past; a bidirectional one uses half
            of them for each side.
        max_distance: The distance from which on all distances share one bucket.
        bidirectional: Whether queries attend to later positions too.

    Source: Raffel et al. 2020, section 2.1.
    """

    def __init__(self, n_heads: int, n_buckets: int = 32, max_distance: int = 128, bidirectional: bool = False) -> None:
        super().__init__()
        self.n_buckets = n_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.bias = nn.Embedding(n_buckets, n_heads)

    def bucket(self, relative: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Compute the bucket of each relative position (key position minus query position)."""
        n = self.n_buckets
        offset = torch.zeros_like(relative)
        if self.bidirectional:
            n //= 2
            offset = (relative > 0) * n
            distance = relative.abs()
        else:
            distance = (-relative).clamp(min=0)
        exact = n // 2
        far = (distance.clamp(min=1) / exact).log() / math.log(self.max_distance / exact) * (n - exact)
        return offset + torch.where(distance < exact, distance, (exact + far.long()).clamp(max=n - 1))

    def forward(
        self,
        n: int,
        device: torch.device | None = None,
        positions: Positions | None = None,
        key_positions: Int[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "*batch heads n key"]:
        """Return the bias between positions 0 to n-1, or between those given.

        The arguments are those of ALiBi.forward, except that positions 0 to n-1 are created on `device`.
        """
        positions = torch.arange(n, device=device) if positions is None else positions
        return self.bias(self.bucket(_relative(positions, key_positions))).movedim(-1, -3)


def _relative(
    positions: Int[Tensor, "*#batch n"], key_positions: Int[Tensor, "*#batch key"] | None = None
) -> Int[Tensor, "*batch n key"]:
    """Compute key position minus query position, for every query (row) and key (column)."""
    return (positions if key_positions is None else key_positions)[..., None, :] - positions[..., None]

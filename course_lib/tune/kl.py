"""Two estimators of the KL divergence of a policy from its reference, at each token that the policy has sampled."""

from jaxtyping import Float
from torch import Tensor


def k3(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Estimate KL(pi, pi_ref) from sampled tokens by ratio - log(ratio) - 1, with ratio = pi_ref / pi.

    The estimate is never below 0, and unbiased over tokens sampled from pi. But its gradient, which is all that a loss
    uses, is on average that of the other divergence, KL(pi_ref, pi). With it, the best policy is no longer that of PPO
    and DPO.

    Source: Shao et al. 2024, equation 4; Schulman 2020, "Approximating KL Divergence"; the gradient, Liu et al. 2025,
    "Rethinking KL Regularization in RLHF".
    """
    log_ratio = ref_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1


def k2(logprobs: Float[Tensor, "*shape"], ref_logprobs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Estimate KL(pi, pi_ref) by log(ratio)^2 / 2: slightly biased, but with a gradient that is right on average.

    Source: As for k3.
    """
    return (ref_logprobs - logprobs).square() / 2

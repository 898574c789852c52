"""BitFit: of all parameters only the biases are trained (Ben Zaken et al. 2021)."""

from torch import nn

from course_lib.tune.frozen import freeze


def train_biases(model: nn.Module) -> nn.Module:
    """Freeze all but the biases of linear layers and norms, the b in W x + b, in place; return the model.

    Nothing is added, so the model is as fast as before.

    Raises:
        ValueError: for a model without biases, such as Llama's style and T5, and for one that is tuned already.

    Source: Ben Zaken et al. 2021, section 3.
    """
    biases = [parameter for name, parameter in model.named_parameters() if name.rpartition(".")[2] == "bias"]
    if not biases:
        raise ValueError(f"this {type(model).__name__} has no biases, so BitFit has nothing to train; take LoRA")
    freeze(model, "bitfit")
    for bias in biases:
        bias.requires_grad_(True)
    return model

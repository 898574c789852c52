"""BitFit: only the biases of a model are trained (Ben Zaken et al. 2021)."""

from torch import nn

from course_lib.tune.frozen import begin_tuning, check_tunable


def train_biases(model: nn.Module) -> nn.Module:
    """Freeze all but the biases of linear layers and norms, the b in W x + b, in place, and return the model.

    Nothing is added, so the model is as fast as before.

    Raises:
        ValueError: If the model has no biases, as in Llama's style and T5, or is tuned already or quantized.

    Source: Ben Zaken et al. 2021, section 3.
    """
    check_tunable(model)
    biases = [parameter for name, parameter in model.named_parameters() if name.rpartition(".")[2] == "bias"]
    if not biases:
        raise ValueError(f"this {type(model).__name__} has no biases, so BitFit has nothing to train; take LoRA")
    begin_tuning(model, "bitfit")
    for bias in biases:
        bias.requires_grad_(True)
    return model

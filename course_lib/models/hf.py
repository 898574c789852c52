"""Weights in the layouts of Hugging Face (GPT-2, Llama), turned into our GPT.

What a config asks for and we do not have is refused by name, never ignored: a model that runs wrong is worse than one
that does not load. Dropout alone is passed over, since it acts in training only.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from course_lib.models.gpt import GPT, GPTConfig

# Settings that leave the logits alone. Any other that is not read below has to be off: None, False, 0 or empty.
HARMLESS = {
    "architectures", "attention_dropout", "attn_pdrop", "dtype", "embd_pdrop", "id2label", "initializer_range",
    "label2id", "model_type", "n_ctx", "output_attentions", "output_hidden_states", "pretraining_tp", "resid_pdrop",
    "return_dict", "task_specific_params", "torch_dtype", "transformers_version", "use_cache",
}  # fmt: skip
HARMLESS_PARTS = ("_token_id", "name_or_path", "summary_")

GPT2_NAMES = {
    "wte": "tokens", "wpe": "position", "ln_f": "norm", "lm_head": "head", "h": "blocks", "ln_1": "norm1",
    "ln_2": "norm2", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.out", "mlp.c_fc": "feed_forward.up",
    "mlp.c_proj": "feed_forward.down",
}  # fmt: skip
LLAMA_NAMES = {
    "embed_tokens": "tokens", "norm": "norm", "lm_head": "head", "layers": "blocks", "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2", "self_attn.o_proj": "attention.out", "mlp.gate_proj": "feed_forward.gate",
    "mlp.up_proj": "feed_forward.up", "mlp.down_proj": "feed_forward.down",
}  # fmt: skip


def from_hf(hf: Mapping[str, Any], state: Mapping[str, Tensor]) -> GPT:
    """Build a GPT, in eval mode, from a Hugging Face config (the contents of config.json) and state dict.

    Tensors whose layout is ours already are shared, not copied. Raises ValueError for a setting that is not supported,
    RuntimeError listing the tensors that are missing, left over or of another shape.
    """
    config = config_from_hf(hf)
    ours = _gpt2_state(state) if hf["model_type"] == "gpt2" else _llama_state(state, config)
    with _NoInitialisation():
        model = GPT(config)
    if config.tied and "tokens.weight" in ours:
        ours["head.weight"] = ours["tokens.weight"]
    model.load_state_dict(ours, assign=True)
    if config.tied:
        model.head.weight = model.tokens.weight  # loading made two parameters of the one
    return model.eval()


def config_from_hf(hf: Mapping[str, Any]) -> GPTConfig:
    """Our config for a Hugging Face one. Raises ValueError naming what is missing or not supported."""
    settings = _Settings(hf)
    family = hf.get("model_type")
    if family == "gpt2":
        return _gpt2_config(settings)
    if family == "llama":
        return _llama_config(settings)
    raise ValueError(f'model_type "{family}" is not supported; this model loads "gpt2" and "llama"')


class _NoInitialisation(TorchFunctionMode):
    """Leaves new parameters as they are: memory that nobody has touched costs none, and no time is spent on it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)


class _Settings:
    """The settings of a config, ticked off as they are read, so that none can be overlooked."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.left = dict(settings)

    def read(self, name: str, default: Any = None) -> Any:
        value = self.left.pop(name, None)
        if value is None and default is None:
            raise ValueError(f"the config has no {name}; is the file complete?")
        return default if value is None else value

    def expect(self, name: str, *values: Any) -> None:
        if (value := self.left.pop(name, None)) not in (*values, None):
            raise ValueError(f"{name}={value!r} is not supported")

    def refuse_the_rest(self) -> None:
        for name, value in self.left.items():
            if value and name not in HARMLESS and not any(part in name for part in HARMLESS_PARTS):
                raise ValueError(f"{name}={value!r} is not supported")


def _gpt2_config(settings: _Settings) -> GPTConfig:
    activation = settings.read("activation_function", "gelu_new")
    ours = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
    if activation not in ours:
        raise ValueError(f"activation_function={activation!r} is not supported")
    settings.expect("scale_attn_weights", True)
    d_model = settings.read("n_embd")
    config = GPTConfig(
        vocab_size=settings.read("vocab_size"),
        context=settings.read("n_positions"),
        d_model=d_model,
        n_layers=settings.read("n_layer"),
        n_heads=settings.read("n_head"),
        d_ff=settings.read("n_inner", 4 * d_model),
        activation=ours[activation],
        tied=settings.read("tie_word_embeddings", True),
        norm_eps=settings.read("layer_norm_epsilon", 1e-5),
    )
    settings.refuse_the_rest()
    return config


def _llama_config(settings: _Settings) -> GPTConfig:
    settings.expect("hidden_act", "silu")
    d_model, n_heads = settings.read("hidden_size"), settings.read("num_attention_heads")
    settings.expect("head_dim", d_model // n_heads)
    bias = settings.read("attention_bias", False)
    settings.expect("mlp_bias", bias, *([] if bias else [False]))
    rope = _Settings(settings.read("rope_parameters", {}))  # transformers 5; before, rope_theta stood by itself
    rope.expect("rope_type", "default")
    theta = rope.read("rope_theta", settings.read("rope_theta", 10000.0))
    rope.refuse_the_rest()
    config = GPTConfig(
        vocab_size=settings.read("vocab_size"),
        context=settings.read("max_position_embeddings", 2048),
        d_model=d_model,
        n_layers=settings.read("num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=settings.read("num_key_value_heads", n_heads),
        d_ff=settings.read("intermediate_size"),
        position="rope",
        norm="rms",
        activation="swiglu",
        bias=bias,
        tied=settings.read("tie_word_embeddings", False),
        norm_eps=settings.read("rms_norm_eps", 1e-6),
        rope_theta=theta,
    )
    settings.refuse_the_rest()
    return config


def _rename(name: str, names: Mapping[str, str]) -> str:
    """`transformer.h.3.attn.c_attn.weight` to `blocks.3.attention.qkv.weight`."""
    name = name.removeprefix("transformer.").removeprefix("model.")
    stem, _, kind = name.rpartition(".")
    if stem.count(".") >= 2:
        layers, number, part = stem.split(".", 2)
        return f"{names.get(layers, layers)}.{number}.{names.get(part, part)}.{kind}"
    return f"{names.get(stem, stem)}.{kind}"


def _gpt2_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    ours = {}
    for name, tensor in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue  # the causal mask, which old files carry along
        is_matrix = ".c_" in name and name.endswith("weight")  # GPT-2 stores input by output, torch output by input
        ours[_rename(name, GPT2_NAMES)] = tensor.t().contiguous() if is_matrix else tensor
    return ours


def _llama_state(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    # Old files carry the frequencies of RoPE along, which follow from rope_theta.
    ours = {_rename(name, LLAMA_NAMES): t for name, t in state.items() if not name.endswith("rotary_emb.inv_freq")}
    for layer in range(config.n_layers):
        for kind in ("weight", "bias") if config.bias else ("weight",):
            names = [f"blocks.{layer}.self_attn.{part}_proj.{kind}" for part in "qkv"]
            if all(name in ours for name in names):
                ours[f"blocks.{layer}.attention.qkv.{kind}"] = torch.cat([ours.pop(name) for name in names])
    return ours

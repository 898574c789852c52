"""GGUF files of the llama family: the logits of transformers, on random small models and on SmolLM2."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from parity import LLAMA, assert_parity, lengths, llama, made, quick, seeds
from transformers import LlamaConfig, LlamaForCausalLM

from course_lib.data.packages.pretrained import smollm2_tensors as smollm2_file
from course_lib.interop import from_gguf, smollm2


def interleaved(rows, n_heads):
    """GGUF's order of the rows of one projection: the two halves of each head, row by row in turn."""
    per_head = rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, -1)
    return torch.stack((per_head[:, 0], per_head[:, 1]), dim=2).reshape(rows.shape)


GGUF_NAMES = [
    ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"), ("model.layers", "blk"),
    ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"), ("self_attn.o_proj", "attn_output"),
    ("self_attn.", "attn_"), ("mlp.", "ffn_"), ("_proj", ""),
]  # fmt: skip


def gguf_name(name):
    for theirs, short in GGUF_NAMES:
        name = name.replace(theirs, short)
    return name


def as_gguf(model):
    """The fields and tensors that a GGUF file of this model would hold."""
    config, tensors = model.config, {}
    for name, tensor in model.state_dict().items():
        if "q_proj" in name or "k_proj" in name:
            n_heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            tensor = interleaved(tensor, n_heads)
        tensors[gguf_name(name)] = tensor
    if config.tie_word_embeddings:
        del tensors["output.weight"]
    fields = {
        "general.architecture": "llama",
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": 64,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.rope.dimension_count": config.head_dim,
        "tokenizer.ggml.model": "gpt2",
    }
    return fields, tensors


@quick
@given(llama.map(lambda s: s | {"attention_bias": False, "mlp_bias": False}), seeds, lengths)
def test_gguf(settings, seed, lengths):
    theirs = made(LlamaForCausalLM, LlamaConfig(**settings), seed)
    assert_parity(from_gguf(*as_gguf(theirs)), theirs, lengths, "right")


def test_smollm2_has_the_loss_of_transformers():
    ours, tokenizer = smollm2()
    _, tensors = smollm2_file()
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        theirs = LlamaForCausalLM(config)
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config)  # holds numbers that no file has
    state = {}
    for name in theirs.state_dict():
        tensor = tensors[gguf_name(name.replace("lm_head", "model.embed_tokens"))]
        if "q_proj" in name or "k_proj" in name:
            pairs = tensor.reshape(-1, 32, 2, 576)  # of each head of 64, the two numbers that turn together
            tensor = torch.cat((pairs[:, :, 0], pairs[:, :, 1]), dim=1).reshape(tensor.shape)
        state[name] = tensor
    theirs.load_state_dict(state, assign=True)
    text = "The Eiffel Tower is a wrought-iron lattice tower in Paris, the capital of France."
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.inference_mode():
        losses = [F.cross_entropy(logits[0, :-1], ids[0, 1:]).item() for logits in (ours(ids), theirs(ids).logits)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert losses[0] == pytest.approx(2.86435, abs=1e-4)  # what transformers gets when it reads the file by itself


def test_gguf_refusals():
    fields, tensors = as_gguf(made(LlamaForCausalLM, LLAMA, 0))
    with pytest.raises(ValueError, match='architecture "qwen2"'):
        from_gguf(fields | {"general.architecture": "qwen2"}, tensors)
    with pytest.raises(ValueError, match=r"rope\.scaling\.type='yarn'"):
        from_gguf(fields | {"llama.rope.scaling.type": "yarn"}, tensors)
    with pytest.raises(ValueError, match=r"expert_count=8"):
        from_gguf(fields | {"llama.expert_count": 8}, tensors)

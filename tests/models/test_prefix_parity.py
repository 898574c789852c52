"""Our prefix tuning beside peft's: the same pairs give the same outputs, where tokens stand behind the prefix."""

import copy

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, gpt2, llama, made, quick, seeds
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from course_lib.tune.prefix import Prefixed, add_prefix

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # of peft and transformers


def assert_parity(theirs, n, dtype=torch.float32):
    """Peft keeps all pairs in one table: a row a virtual token, in it key and value of the first layer, and so on."""
    ours, _ = both_ways(theirs)
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n)
    model = peft.get_peft_model(copy.deepcopy(theirs), config).eval()
    table = model.prompt_encoder["default"].embedding.weight
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == table.numel()
    torch.nn.init.normal_(table, std=0.3)
    add_prefix(ours, n)
    layers = [layer for layer in ours.modules() if isinstance(layer, Prefixed)]
    shape = (n, 2 * len(layers), layers[0].attention.n_kv_heads, layers[0].attention.head_dim)
    pairs = table.detach().view(shape).permute(1, 2, 0, 3)
    for i, layer in enumerate(layers):
        layer.key.data, layer.value.data = pairs[2 * i].clone(), pairs[2 * i + 1].clone()
    ids = torch.randint(theirs.config.vocab_size, (2, 7))
    positions = (n + torch.arange(7)).expand(2, 7)  # theirs come after the prefix; ours where we say
    expected, found = model.to(dtype)(ids).logits, ours.to(dtype)(ids, positions=positions)
    # Relative to the largest logit: sums of up to 200 float32 products in another order stay well below 1e-5.
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


@quick
@given(gpt2, seeds, st.integers(1, 5))
def test_gpt2(settings, seed, n):
    # LayerNorm over two numbers that are nearly equal leaves float32 few digits.
    assert_parity(made(GPT2LMHeadModel, GPT2Config(**settings), seed), n, torch.float64)


@quick
@given(llama, seeds, st.integers(1, 5))
def test_llama(settings, seed, n):
    assert_parity(made(LlamaForCausalLM, LlamaConfig(**settings), seed), n)

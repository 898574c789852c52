"""Our LoRA beside peft's, on random small models of transformers: outputs, gradients, and each other's files."""

import json
import tempfile

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import GPT2, LLAMA, gpt2, llama, made, quick, seeds
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from course_lib.errors import ModelError
from course_lib.interop import from_pretrained
from course_lib.models import GPT, GPTConfig
from course_lib.tune.adapter_files import load_adapter, save_adapter
from course_lib.tune.frozen import trainable_parameters
from course_lib.tune.lora import LoRA, add_lora, merge_lora
from course_lib.tune.peft_format import to_peft

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # of peft and transformers


def tuned(theirs, rank, alpha, targets, **settings):
    """A model of transformers with peft's LoRA, whose A and B are any numbers."""
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, **settings)
    model = peft.get_peft_model(theirs, config).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    return model


def assert_parity(theirs, rank, alpha, targets, dtype=torch.float32, **extra):
    """Peft's files read by us give the same outputs and gradients; ours read by peft give the same outputs again."""
    ids = {"input_ids": torch.randint(theirs.config.vocab_size, (2, 7)), **extra}
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as small:
        theirs.save_pretrained(whole)
        model = tuned(theirs, rank, alpha, targets)
        model.save_pretrained(small)
        ours = load_adapter(from_pretrained(whole), small)
        save_adapter(ours, small)
        kind = type(theirs)
        back = peft.PeftModel.from_pretrained(kind.from_pretrained(whole), small).eval()
    for name, parameter in model.named_parameters():  # A and B came back to the bit
        assert torch.equal(back.get_parameter(name), parameter), name
    expected, found = model.to(dtype)(**ids).logits, ours.to(dtype)(*ids.values())
    largest = expected.abs().max().clamp(min=1)
    # Relative to the largest output: sums of a few hundred float32 products in another order stay well below 1e-5.
    # (Peft's own two may differ in the last digit: where tensors lie in memory decides how torch multiplies them.)
    for logits in (found, back.to(dtype)(**ids).logits):
        assert (logits - expected).abs().max() <= 1e-5 * largest
    aim = torch.randn_like(expected)
    (expected * aim).sum().backward()
    (found * aim).sum().backward()
    for parameter in trainable_parameters(ours).values():
        parameter.data = parameter.grad
    gradients = to_peft(ours)[1]
    right = {name.replace(".default", ""): p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert gradients.keys() == right.keys()
    # Relative to the largest gradient; where all are small, they are what cancellation leaves of numbers around 1.
    scale = max(1.0, *(float(gradient.abs().max()) for gradient in right.values()))
    for name, gradient in right.items():
        assert (gradients[name] - gradient).abs().max() <= 1e-4 * scale, name


ranks, alphas = st.integers(1, 4), st.floats(0.5, 4)


def some(*targets):
    return st.lists(st.sampled_from(targets), min_size=1, unique=True)


@quick
@given(gpt2, seeds, ranks, alphas, some("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"))
def test_gpt2(settings, seed, rank, alpha, targets):
    # LayerNorm over two numbers that are nearly equal leaves float32 few digits of a gradient.
    assert_parity(made(GPT2LMHeadModel, GPT2Config(**settings), seed), rank, alpha, targets, torch.float64)


@quick
@given(llama, seeds, ranks, alphas, some("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))
def test_llama(settings, seed, rank, alpha, targets):
    # Large queries and keys make attention so sharp that float32's own rounding is a hundred times larger.
    assert_parity(made(LlamaForCausalLM, LlamaConfig(**settings), seed), rank, alpha, targets, torch.float64)


def test_bert():
    config = BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=2, vocab_size=9, intermediate_size=7)
    assert_parity(made(BertForMaskedLM, config, 0), 2, 3.0, ["query", "value", "output.dense"])


def test_t5_with_cross_attention():
    config = T5Config(vocab_size=9, d_model=8, d_kv=3, d_ff=5, num_heads=2, num_layers=1, num_decoder_layers=2)
    ids = torch.randint(9, (2, 5))
    theirs = made(T5ForConditionalGeneration, config, 0)
    assert_parity(theirs, 2, 3.0, ["q", "k", "v", "o", "wi"], decoder_input_ids=ids)


def test_pairs_of_their_own_in_a_stacked_matrix(tmp_path):
    """GPT-2's queries and values apart: to peft one pair of twice the rank, which does the same; to us two again."""
    theirs = made(GPT2LMHeadModel, GPT2, 0)
    theirs.save_pretrained(tmp_path / "whole")
    ours = add_lora(from_pretrained(tmp_path / "whole"), 2, 3.0, ("q", "v", "attention.out"))
    for parameter in trainable_parameters(ours).values():
        torch.nn.init.normal_(parameter)
    save_adapter(ours, tmp_path / "small")
    config = json.loads((tmp_path / "small" / "adapter_config.json").read_text())
    assert (config["r"], config["rank_pattern"]) == (2, {"transformer.h.0.attn.c_attn": 4})
    ids = torch.randint(9, (2, 4))
    expected = ours(ids)
    model = peft.PeftModel.from_pretrained(theirs, tmp_path / "small").eval()
    torch.testing.assert_close(model(ids).logits, expected)
    again = load_adapter(from_pretrained(tmp_path / "whole"), tmp_path / "small")
    assert again.tuning == ours.tuning
    assert trainable_parameters(again).keys() == trainable_parameters(ours).keys()
    assert all(
        torch.equal(parameter, trainable_parameters(ours)[name])
        for name, parameter in trainable_parameters(again).items()
    )
    save_adapter(again, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "adapter_config.json").read_text()) == config
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("small", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    # What peft writes of it says nothing of pairs: one of twice the rank.
    model.save_pretrained(tmp_path / "theirs")
    one = load_adapter(from_pretrained(tmp_path / "whole"), tmp_path / "theirs")
    torch.testing.assert_close(one(ids), expected)
    assert one.blocks[0].attention.qkv.lora_A["qkv"].shape == (4, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 3}, r"c_proj\.lora_A\.weight has the shape \(2, 8\), not \(3, 8\)"),
        ({"rank_pattern": {}}, r"c_attn\.lora_A\.weight has the shape \(4, 8\), not \(2, 8\)"),
        ({"use_dora": True}, "use_dora=True is not supported"),
    ],
)
def test_pairs_that_the_settings_do_not_fit(tmp_path, change, message):
    made(GPT2LMHeadModel, GPT2, 0).save_pretrained(tmp_path / "whole")
    save_adapter(add_lora(from_pretrained(tmp_path / "whole"), 2, 3.0, ("q", "v", "attention.out")), tmp_path / "small")
    file = tmp_path / "small" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    model = from_pretrained(tmp_path / "whole")
    with pytest.raises(ModelError, match=message):
        load_adapter(model, tmp_path / "small")
    assert not any(isinstance(part, LoRA) for part in model.modules())
    add_lora(model, 2, 3.0)  # it is as it was, and can be tuned


def test_merged_as_peft_merges(tmp_path):
    theirs = made(LlamaForCausalLM, LLAMA, 0)
    theirs.save_pretrained(tmp_path / "whole")
    model = tuned(theirs, 2, 3.0, ["q_proj", "down_proj"])
    model.save_pretrained(tmp_path / "small")
    ours = load_adapter(from_pretrained(tmp_path / "whole"), tmp_path / "small")
    merge_lora(ours)
    merged = model.merge_and_unload().state_dict()
    layer = ours.blocks[0]
    torch.testing.assert_close(layer.attention.qkv.weight[:8], merged["model.layers.0.self_attn.q_proj.weight"])
    torch.testing.assert_close(layer.feed_forward.down.weight, merged["model.layers.0.mlp.down_proj.weight"])


def test_a_model_without_a_family_keeps_our_names(tmp_path):
    config = GPTConfig(9, d_model=8, n_layers=1, n_heads=2, position="alibi")
    torch.manual_seed(0)
    model = GPT(config)
    again = GPT(config)
    again.load_state_dict(model.state_dict())
    add_lora(model, 2, 3.0, ("q", "v", "up"))
    for parameter in trainable_parameters(model).values():
        torch.nn.init.normal_(parameter)
    save_adapter(model, tmp_path)
    ids = torch.arange(6)[None]
    assert torch.equal(load_adapter(again, tmp_path)(ids), model(ids))
    assert trainable_parameters(again).keys() == trainable_parameters(model).keys()


@pytest.fixture
def folder(tmp_path):
    theirs = made(LlamaForCausalLM, LLAMA, 0)
    theirs.save_pretrained(tmp_path / "whole")
    tuned(theirs, 2, 3.0, ["q_proj", "v_proj"]).save_pretrained(tmp_path / "small")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora=True is not supported"),
        ({"use_rslora": True}, "use_rslora=True is not supported"),
        ({"bias": "all"}, "bias='all' is not supported"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\] is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' is not supported"),
        ({"peft_type": "IA3"}, "peft_type='IA3' is not supported"),
        ({"something_new": 1}, "something_new=1 is not supported"),
        ({"rank_pattern": {"q_proj": 3}}, r"blocks\.0\.attention\.qkv differ in rank or alpha"),
        ({"r": 3}, r"q_proj\.lora_A\.weight has the shape \(2, 8\), not \(3, 8\)"),
    ],
)
def test_settings_are_refused_by_name(folder, change, message):
    file = folder / "small" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    model = from_pretrained(folder / "whole")
    before = model.state_dict().keys()
    with pytest.raises(ModelError, match=message):
        load_adapter(model, folder / "small")
    assert model.state_dict().keys() == before
    assert all(p.requires_grad for p in model.parameters())


def test_a_pattern_of_peft_is_read(folder):
    """Rank and alpha of each layer as peft finds them, by the ends of names."""
    theirs = LlamaForCausalLM.from_pretrained(folder / "whole")
    patterns = {"rank_pattern": {"o_proj": 3}, "alpha_pattern": {"q_proj": 7}}
    model = tuned(theirs, 2, 3, ["q_proj", "o_proj"], **patterns)
    model.save_pretrained(folder / "small")
    ours = load_adapter(from_pretrained(folder / "whole"), folder / "small")
    ids = torch.arange(6)[None]
    torch.testing.assert_close(ours(ids), model(ids).logits)
    assert (ours.blocks[0].attention.qkv.scaling, ours.blocks[0].attention.out.scaling) == (3.5, 1)

"""Folders of models: what is written is whole, what is read is refused by name when it cannot be right."""

import json

import pytest
import torch
from parity import GPT2, LLAMA, assert_parity, made
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel, LlamaForCausalLM

from course_lib.errors import ModelError
from course_lib.interop import from_pretrained, save_pretrained, to_hf
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES


@pytest.fixture
def folder(tmp_path):
    made(LlamaForCausalLM, LLAMA, 0).save_pretrained(tmp_path)
    return tmp_path


def change(file, **settings):
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_a_folder_that_is_none(tmp_path):
    for folder in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ModelError, match=r"is no folder with a config\.json"):
            from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_broken_config(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json .*copy it again"):
        from_pretrained(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged or cut short"):
        from_pretrained(folder)


def test_missing_weights_and_pickles(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no model\.safetensors; copy"):
        from_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is not read"):
        from_pretrained(folder)


def test_the_folder_is_named_with_what_is_wrong(folder):
    change(folder / "config.json", hidden_size=16)
    with pytest.raises(ModelError) as refusal:
        from_pretrained(folder)
    assert str(refusal.value).startswith(f"{folder}: the tensors do not fit the config: ")
    assert "model.embed_tokens.weight has the shape (9, 8), not (9, 16)" in str(refusal.value)
    change(folder / "config.json", hidden_size=8, model_type="mamba")
    with pytest.raises(ModelError, match=r'"mamba" is not supported; supported are: .*gpt2, llama'):
        from_pretrained(folder)


def test_several_files(folder, tmp_path):
    theirs = made(LlamaForCausalLM, LLAMA, 0)
    parts = tmp_path / "parts"
    theirs.save_pretrained(parts, max_shard_size="1KB")
    assert (parts / "model.safetensors.index.json").exists()
    assert_parity(from_pretrained(parts), theirs, [3, 5], "right")
    (parts / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match=r"index\.json is damaged"):
        from_pretrained(parts)


def test_an_index_cannot_reach_outside_the_folder(folder, tmp_path):
    inside = folder / "inside"
    inside.mkdir()
    (folder / "config.json").rename(inside / "config.json")
    (inside / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    with pytest.raises(ModelError, match="has no model"):
        from_pretrained(inside)


def test_dtypes(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in weights.items()}, folder / "model.safetensors")
    assert {p.dtype for p in from_pretrained(folder).parameters()} == {torch.float32}
    rough = from_pretrained(folder, dtype=None)
    assert {p.dtype for p in rough.parameters()} == {torch.bfloat16}
    assert torch.equal(
        rough.blocks[0].attention.qkv.weight[:8], weights["model.layers.0.self_attn.q_proj.weight"].bfloat16()
    )


@pytest.mark.parametrize("position", CHOICES["position"])
@pytest.mark.parametrize("norm", CHOICES["norm"])
@pytest.mark.parametrize("activation", CHOICES["activation"])
@pytest.mark.parametrize("tied", [True, False])
def test_any_gpt_can_be_saved(tmp_path, position, norm, activation, tied):
    torch.manual_seed(0)
    model = GPT(
        GPTConfig(11, 8, 12, 2, 3, 1, position=position, norm=norm, activation=activation, tie_embeddings=tied)
    ).eval()
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == model.config
    assert (again.lm_head.weight is again.token_embedding.weight) == tied
    ids = torch.arange(8)[None]
    assert torch.equal(again(ids), model(ids))


def test_what_no_family_can_hold_is_said(tmp_path):
    with pytest.raises(ModelError, match="gpt2 cannot hold this model: it has no position='alibi'"):
        to_hf(GPT(GPTConfig(11, position="alibi")), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ModelError, match="no family for Linear"):
        save_pretrained(torch.nn.Linear(2, 2), tmp_path)


def test_an_interrupted_writing_leaves_the_old_folder(tmp_path, monkeypatch):
    old = made(GPT2LMHeadModel, GPT2, 0)
    old.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_lib.interop.model_files.save_file", full)
    with pytest.raises(ModelError, match=r"nothing could be written to .*No space left.*make room"):
        to_hf(GPT(GPTConfig(11)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("position", ["learned", "alibi"], ids=["hugging-face", "own"])
def test_a_full_disk_is_no_reason_for_another_form(tmp_path, monkeypatch, position):
    """Only what transformers cannot hold is written in the course's own form; an error of the disk is told as it is."""
    tried = []

    def full(tensors, *args, **kwargs):
        tried.append(sorted(tensors))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_lib.interop.model_files.save_file", full)
    with pytest.raises(ModelError, match=r"nothing could be written to .*No space left.*make room"):
        save_pretrained(GPT(GPTConfig(11, position=position)), tmp_path)
    assert [("transformer.wte.weight" in names, "token_embedding.weight" in names) for names in tried] == [
        (position == "learned", position == "alibi")
    ]
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_need_no_change_are_shared():
    theirs = made(LlamaForCausalLM, LLAMA, 0)
    from course_lib.interop import from_hf

    ours = from_hf(LLAMA.to_dict(), theirs.state_dict())
    assert ours.token_embedding.weight.data_ptr() == theirs.model.embed_tokens.weight.data_ptr()


def test_a_folder_of_several_files_is_written_over(tmp_path):
    made(LlamaForCausalLM, LLAMA, 0).save_pretrained(tmp_path, max_shard_size="1KB")
    new = from_pretrained(tmp_path)
    new.norm.weight.data.fill_(7.0)
    to_hf(new, tmp_path)
    assert torch.equal(from_pretrained(tmp_path).norm.weight, new.norm.weight)


@pytest.mark.parametrize(
    "settings", [{"model_type": ["llama"]}, {"hidden_act": ["silu"]}, {"num_hidden_layers": "4"}, {"rms_norm_eps": {}}]
)
def test_a_setting_of_the_wrong_kind(folder, settings):
    change(folder / "config.json", **settings)
    with pytest.raises(ModelError):
        from_pretrained(folder)


def test_the_dtype_is_written(tmp_path):
    model = GPT(GPTConfig(11)).bfloat16()
    to_hf(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


def test_sizes_that_no_file_of_this_length_can_have_are_refused_at_once(folder):
    change(folder / "config.json", num_hidden_layers=10**9)
    with pytest.raises(ModelError, match=r"asks for n_layers=1000000000, and there are \d+ tensors in all"):
        from_pretrained(folder)
    change(folder / "config.json", num_hidden_layers=1, vocab_size=10**15)
    with pytest.raises(ModelError, match="more than fits into the memory"):
        from_pretrained(folder)


def test_a_file_or_a_name_in_place_of_a_folder(folder):
    with pytest.raises(ModelError, match=r"config\.json is no folder with a config\.json; pass the one that holds"):
        from_pretrained(folder / "config.json")
    with pytest.raises(ModelError, match="nothing is downloaded"):
        from_pretrained("gpt2")


def test_the_family_is_known_before_the_weights_are_read(folder):
    change(folder / "config.json", model_type="rwkv")
    (folder / "model.safetensors").write_bytes(b"not read")
    with pytest.raises(ModelError, match='model_type "rwkv" is not supported'):
        from_pretrained(folder)

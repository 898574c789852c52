"""Our BERT gives the numbers of transformers: with and without head and pooler, on random models and on MiniLM."""

import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, lengths, made, quick, seeds
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification, BertModel

from course_lib.data.packages import pretrained
from course_lib.errors import ModelError
from course_lib.interop import from_hf, from_pretrained, minilm, to_hf
from course_lib.interop.hf import BERT as FAMILY
from course_lib.nn.attention import padding_mask

BERT = {
    "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 9, "intermediate_size": 7,
    "max_position_embeddings": 16,
}  # fmt: skip

bert = st.builds(
    lambda head_dim, n_heads, **rest: {"hidden_size": head_dim * n_heads, "num_attention_heads": n_heads, **rest},
    head_dim=st.integers(2, 8),
    n_heads=st.integers(2, 4),
    num_hidden_layers=st.integers(1, 3),
    vocab_size=st.integers(2, 50),
    intermediate_size=st.integers(1, 24),
    max_position_embeddings=st.integers(16, 20),
    type_vocab_size=st.integers(1, 3),
    hidden_act=st.sampled_from(["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "quick_gelu"]),
    layer_norm_eps=st.sampled_from([1e-12, 1e-5, 1e-3]),
)


@torch.no_grad()
def assert_same(ours, theirs, lengths=(3, 7, 16), side="right"):
    """Equal outputs for a padded batch with random token types, wherever there is a real token."""
    n = max(lengths)
    ids = torch.randint(theirs.config.vocab_size, (len(lengths), n))
    types = torch.randint(theirs.config.type_vocab_size, ids.shape)
    place = torch.arange(n)
    real = torch.stack([place < k if side == "right" else place >= n - k for k in lengths])
    for token_types in (types, None):
        result = theirs(ids, attention_mask=real.long(), token_type_ids=token_types)
        expected = result[0][real]
        for return_weights in (False, True):
            output = ours(ids, mask=real[:, None, None], token_types=token_types, return_weights=return_weights)
            output = output[0] if return_weights else output
            # Relative to the largest: sums of up to 200 float32 products in another order stay well below 1e-5.
            assert (output[real] - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)
        if isinstance(theirs, BertModel) and ours.pooler and side == "right":
            assert (ours.pool(output) - result.pooler_output).abs().max() <= 1e-5


@quick
@given(bert, seeds, lengths, st.sampled_from(["left", "right"]))
def test_masked_language_model(settings, seed, lengths, side):
    theirs = made(BertForMaskedLM, BertConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, lengths, side)
    assert_same(ours, back, lengths, side)  # the settings came back too, not only the tensors
    assert (ours.config.head, ours.config.pooler) == ("mlm", False)
    assert ours.lm_head.weight is ours.token_embedding.weight
    assert not ours.training


@quick
@given(bert, seeds, lengths, st.sampled_from(["left", "right"]))
def test_encoder_with_pooler(settings, seed, lengths, side):
    theirs = made(BertModel, BertConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, lengths, side)
    assert_same(ours, back, lengths, side)
    assert (ours.config.head, ours.config.pooler) == ("none", True)


def test_encoder_without_pooler(tmp_path):
    theirs = made(lambda config: BertModel(config, add_pooling_layer=False), BertConfig(**BERT), 0)
    ours = from_hf(theirs.config.to_dict(), theirs.state_dict())
    assert_same(ours, theirs)
    to_hf(ours, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertModel"]
    assert_same(ours, BertModel.from_pretrained(tmp_path, add_pooling_layer=False))


def test_attention_weights_and_positions():
    theirs = made(BertModel, BertConfig(**BERT, attn_implementation="eager"), 0)
    ours = from_hf(theirs.config.to_dict(), theirs.state_dict())
    ids, positions = torch.randint(9, (2, 6)), torch.tensor([[0, 1, 2, 0, 1, 15], [3, 2, 1, 0, 5, 5]])
    expected = theirs(ids, position_ids=positions, output_attentions=True)
    output, weights = ours(ids, positions=positions, return_weights=True)
    torch.testing.assert_close(output, expected.last_hidden_state, rtol=1e-5, atol=1e-5)
    for mine, yours in zip(weights, expected.attentions, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-5, atol=1e-5)


def test_gradients_of_the_objective():
    theirs = made(BertForMaskedLM, BertConfig(**BERT), 0)
    ours = from_hf(theirs.config.to_dict(), {name: t.clone() for name, t in theirs.state_dict().items()})
    ids, lengths = torch.randint(1, 9, (3, 7)), torch.tensor([7, 4, 2])
    mask = padding_mask(lengths, 7)
    ids = ids.where(mask[:, 0, 0], 0)
    targets = ids.where((ids % 2 == 1) & mask[:, 0, 0], -100)
    theirs(ids, attention_mask=mask[:, 0, 0].long(), labels=targets).loss.backward()
    F.cross_entropy(ours(ids, mask=mask).flatten(0, 1), targets.flatten()).backward()
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    largest = max(gradient.abs().max() for gradient in expected.values() if gradient is not None)
    compared = set()
    for name, parameter in ours.named_parameters():
        for place, gradient in FAMILY.tensor_views(ours, name, parameter.grad):
            # A gradient passes every layer twice: ten times the rounding of the logits.
            assert (gradient - expected[place]).abs().max() <= 1e-4 * largest, place
            compared.add(place)
    assert compared == expected.keys()


# Every setting that transformers knows for a BERT, with a value that is not its usual one.
OTHER = {
    "_name_or_path": "bert-tiny", "add_cross_attention": True, "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.5, "bos_token_id": 3, "chunk_size_feed_forward": 1, "classifier_dropout": 0.3,
    "dtype": "float32", "eos_token_id": 4, "hidden_act": "gelu_new", "hidden_dropout_prob": 0.5, "hidden_size": 12,
    "id2label": {0: "a", 1: "b", 2: "c"}, "initializer_range": 0.5, "intermediate_size": 5, "is_decoder": True,
    "is_encoder_decoder": True, "label2id": {"a": 0, "b": 1, "c": 2}, "layer_norm_eps": 1e-2,
    "max_position_embeddings": 20, "model_type": "roberta", "num_attention_heads": 4, "num_hidden_layers": 1,
    "output_attentions": True, "output_hidden_states": True, "pad_token_id": 5,
    "problem_type": "regression", "return_dict": True, "tie_word_embeddings": False, "transformers_version": "4.8.2",
    "type_vocab_size": 3, "use_cache": False, "vocab_size": 11,
}  # fmt: skip
REFUSED = {
    "add_cross_attention", "chunk_size_feed_forward", "is_decoder", "is_encoder_decoder", "model_type", "problem_type",
    "tie_word_embeddings",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BertConfig().to_dict()))
def test_every_setting_is_kept_or_refused(name):
    settings = BertConfig(**BERT).to_dict() | {name: OTHER[name]}
    if name in REFUSED:
        with pytest.raises(ModelError, match=name if name != "model_type" else "roberta"):
            from_hf(settings, BertForMaskedLM(BertConfig(**BERT)).state_dict())
        return
    theirs = made(BertForMaskedLM, BertConfig.from_dict(dict(settings), attn_implementation="eager"), 0)
    assert_same(from_hf(settings, theirs.state_dict()), theirs)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"hidden_act": "mish"}, "hidden_act='mish' is not supported; supported are: gelu, gelu_new"),
        ({"a_setting_of_next_year": 3}, "a_setting_of_next_year"),
        ({"vocab_size": None}, "no vocab_size"),
        ({"num_attention_heads": 3}, "d_model=8 must be a multiple of n_heads=3"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(change, name):
    state = BertForMaskedLM(BertConfig(**BERT)).state_dict()
    with pytest.raises(ValueError, match=name):
        from_hf(BertConfig(**BERT).to_dict() | change, state)


def test_the_head_of_another_task_is_refused():
    theirs = BertForSequenceClassification(BertConfig(**BERT))
    with pytest.raises(ModelError, match=r"classifier\.weight is left over"):
        from_hf(theirs.config.to_dict(), theirs.state_dict())
    state = BertForMaskedLM(theirs.config).state_dict()
    del state["cls.predictions.transform.dense.bias"]
    with pytest.raises(ModelError, match=r"cls\.predictions\.transform\.dense\.bias is missing"):
        from_hf(theirs.config.to_dict(), state)


def test_the_files_of_google(tmp_path):
    """Both heads and a pooler, gains called gamma, place numbers, settings that nothing reads."""
    theirs = made(BertForPreTraining, BertConfig(**BERT), 0)
    theirs.save_pretrained(tmp_path)
    file, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {"bert.embeddings.position_ids": torch.arange(16)[None]}
    for name, tensor in load_file(file).items():
        ending = ".".join(name.split(".")[-2:])
        tensors[name.removesuffix(ending) + old.get(ending, ending)] = tensor
    assert sum(".gamma" in name for name in tensors) == 2 * 2 + 2
    save_file(tensors, file, {"format": "pt"})
    unread = {"directionality": "bidi", "pooler_fc_size": 768, "pooler_type": "first_token_transform"}
    unread |= {"position_embedding_type": "absolute", "_attn_implementation_autoset": True}
    config.write_text(json.dumps(json.loads(config.read_text()) | unread))
    ours = from_pretrained(tmp_path)
    assert (ours.config.head, ours.config.pooler) == ("mlm", True)
    assert_same(ours, BertForMaskedLM.from_pretrained(tmp_path))
    ids = torch.arange(9)[None]
    hidden = ours.hidden_states(ours.token_embedding(ids))
    torch.testing.assert_close(ours.pool(hidden), BertModel.from_pretrained(tmp_path)(ids).pooler_output)


TEXTS = [
    "The Eiffel Tower is a wrought-iron lattice tower in Paris, the capital of France.",
    "Attention is all you need.",
    "",
    "Straße, naïve café, 東京; 3.14159!",
]


@torch.no_grad()
def test_minilm_has_the_hidden_states_of_transformers(tmp_path):
    ours, tokenizer = minilm()
    theirs = BertModel.from_pretrained(pretrained.minilm_folder()).eval()
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch([(text, TEXTS[1]) for text in TEXTS] + TEXTS)
    ids, types, real = (
        torch.tensor([getattr(encoding, part) for encoding in encodings])
        for part in ("ids", "type_ids", "attention_mask")
    )
    assert types.any()
    expected = theirs(ids, attention_mask=real, token_type_ids=types)
    output = ours(ids, mask=real.bool()[:, None, None], token_types=types)
    # Sums of 1,536 float32 products, twelve layer norms deep.
    assert (output - expected.last_hidden_state)[real.bool()].abs().max() <= 1e-5 * output.abs().max()
    assert (ours.pool(output) - expected.pooler_output).abs().max() <= 1e-5
    to_hf(ours, tmp_path)
    written, read = (
        load_file(tmp_path / "model.safetensors"),
        load_file(pretrained.minilm_folder() / "model.safetensors"),
    )
    del read["embeddings.position_ids"]
    assert written.keys() == {"bert." + name for name in read}
    assert all(torch.equal(written["bert." + name], tensor) for name, tensor in read.items())

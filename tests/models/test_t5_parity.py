"""Our T5 gives the logits of transformers, on random small models of both variants, through padding on both sides."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, made, quick, seeds
from transformers import T5Config, T5ForConditionalGeneration

from course_lib.errors import ModelError
from course_lib.interop import from_hf
from course_lib.interop.hf import T5 as FAMILY
from course_lib.train.seq2seq import seq2seq_loss

TINY = T5Config(vocab_size=9, d_model=8, d_kv=3, d_ff=5, num_heads=2, num_layers=1, num_decoder_layers=2)
t5 = st.builds(
    lambda n_buckets, further, **rest: {
        "relative_attention_num_buckets": n_buckets,
        "relative_attention_max_distance": n_buckets // 2 + further,
        **rest,
    },
    n_buckets=st.integers(4, 12),
    further=st.integers(1, 20),
    vocab_size=st.integers(2, 50),
    d_model=st.integers(2, 16),  # RMSNorm leaves of a single number its sign, which jumps
    d_kv=st.integers(1, 8),
    d_ff=st.integers(1, 24),
    num_heads=st.integers(1, 4),
    num_layers=st.integers(1, 2),
    num_decoder_layers=st.integers(1, 3),
    feed_forward_proj=st.sampled_from(["relu", "gated-gelu"]),
    layer_norm_epsilon=st.sampled_from([1e-6, 1e-3]),
    tie_word_embeddings=st.booleans(),  # to transformers 5 this says how the output layer is scaled, and no more
)
# Up to 40 tokens: beyond the largest distance, and beyond the first bucket of all that are further.
pairs = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3)


def model_of_theirs(settings, own_head, seed):
    def build(config):
        model = T5ForConditionalGeneration(config)
        if own_head:  # as when a published file of v1.1 is read
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
        return model

    model = made(build, settings if isinstance(settings, T5Config) else T5Config(**settings), seed)
    for name, parameter in model.named_parameters():
        if name.endswith("Attention.q.weight"):  # scores as large as in other models, which divide by this
            parameter.data /= math.sqrt(model.config.d_kv)
    return model


def padded(lengths, vocab, side):
    """Random tokens of these lengths in one batch, and which of them are real."""
    n = max(lengths)
    place = torch.arange(n)
    real = torch.stack([place < k if side == "right" else place >= n - k for k in lengths])
    return torch.randint(vocab, (len(lengths), n)), real


@torch.no_grad()
def assert_same(ours, theirs, pairs=((7, 9), (11, 3)), source_side="right", target_side="right"):
    (ids, real), (decoder_ids, written) = (
        padded(lengths, theirs.config.vocab_size, side)
        for lengths, side in zip(zip(*pairs, strict=True), (source_side, target_side), strict=True)
    )
    inputs = {"attention_mask": real.long(), "decoder_input_ids": decoder_ids, "decoder_attention_mask": written.long()}
    expected = theirs(ids, **inputs).logits[written]
    largest = expected.abs().max().clamp(min=1)
    # In float64, where rounding is out of the way, the two are one function. Random weights can make attention so sharp
    # that a rounding of 6e-8 in float32 is magnified a thousand times, so there the bound is 1e-5 or, where their own
    # distance from float64 shows such a model, a hundred times that: one draw of rounding errors against another.
    exact = copy.deepcopy(theirs).double()(ids, **inputs).logits[written]
    same = copy.deepcopy(ours).double()(ids, decoder_ids, real, decoder_mask=written)[written]
    assert (same - exact).abs().max() <= 1e-10 * largest
    close = (100 * (exact - expected).abs().max()).clamp(min=1e-5 * largest, max=1e-3 * largest)
    memory = ours.encode(ids, real)
    for logits in (
        ours(ids, decoder_ids, real, decoder_mask=written),
        ours(ids, decoder_ids, real, return_weights=True, decoder_mask=written)[0],
        ours.decode(decoder_ids, memory, real, decoder_mask=written),
    ):
        assert (logits[written] - expected).abs().max() <= close


@quick
@given(t5, st.booleans(), seeds, pairs, *[st.sampled_from(["left", "right"])] * 2)
def test_t5(settings, own_head, seed, pairs, source_side, target_side):
    theirs = model_of_theirs(settings, own_head, seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, pairs, source_side, target_side)
    assert_same(ours, back, pairs, source_side, target_side)  # the settings came back too, not only the tensors
    assert not ours.training
    assert (ours.lm_head.weight is ours.token_embedding.weight) == (not own_head)
    assert ours.encoder.token_embedding is ours.decoder.token_embedding is ours.token_embedding


def test_what_is_neither_padded_nor_masked():
    theirs = model_of_theirs(TINY, False, 0)
    ids, decoder_ids = torch.randint(9, (2, 30)), torch.randint(9, (2, 40))
    ours = from_hf(TINY.to_dict(), theirs.state_dict())(ids, decoder_ids)
    torch.testing.assert_close(ours, theirs(ids, decoder_input_ids=decoder_ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("v1_1", [False, True])
def test_gradients_of_the_loss(v1_1):
    settings = TINY.to_dict() | {"decoder_start_token_id": 3, "pad_token_id": 3}
    if v1_1:
        settings |= {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new", "is_gated_act": True}
        settings |= {"scale_decoder_outputs": False}
    theirs = model_of_theirs(T5Config.from_dict(settings), v1_1, 0)
    ours = from_hf(settings, theirs.state_dict())
    ids, targets = torch.randint(8, (4, 12)), torch.randint(9, (4, 10))
    ids[0, 5:], targets[1, 6:] = 8, -100
    loss = theirs(ids, attention_mask=(ids != 8).long(), labels=targets).loss
    loss.backward()
    our_loss = seq2seq_loss(ours, (ids, targets), start_id=3, pad_id=8).mean
    our_loss.backward()
    assert our_loss.item() == pytest.approx(loss.item(), rel=1e-5)
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    largest = max(gradient.abs().max() for gradient in expected.values())
    compared = set()
    for name, parameter in ours.named_parameters():
        for place, gradient in FAMILY.tensor_views(ours, name, parameter.grad):
            # A gradient passes every layer twice: ten times the rounding of the logits.
            assert (gradient - expected[place]).abs().max() <= 1e-4 * largest, place
            compared.add(place)
    assert compared == expected.keys()


# Every setting that transformers knows for a T5, with a value that is not its usual one.
OTHER = {
    "_name_or_path": "t5-tiny", "architectures": ["T5ForConditionalGeneration"], "chunk_size_feed_forward": 1,
    "classifier_dropout": 0.3, "d_ff": 7, "d_kv": 2, "d_model": 6, "dense_act_fn": "gelu", "dropout_rate": 0.5,
    "dtype": "float32", "eos_token_id": 4, "feed_forward_proj": "gated-gelu", "id2label": {0: "a", 1: "b", 2: "c"},
    "initializer_factor": 0.5, "is_decoder": True, "is_encoder_decoder": False, "is_gated_act": True,
    "label2id": {"a": 0, "b": 1, "c": 2}, "layer_norm_epsilon": 1e-2, "model_type": "umt5", "num_decoder_layers": 3,
    "num_heads": 4, "num_layers": 3, "output_attentions": True, "output_hidden_states": True, "pad_token_id": 5,
    "problem_type": "regression", "relative_attention_max_distance": 20, "relative_attention_num_buckets": 6,
    "return_dict": True, "scale_decoder_outputs": False, "tie_word_embeddings": False, "transformers_version": "4.8.2",
    "use_cache": False, "vocab_size": 11,
}  # fmt: skip
REFUSED = {
    "chunk_size_feed_forward", "dense_act_fn", "is_decoder", "is_encoder_decoder", "is_gated_act", "problem_type",
    "model_type", "feed_forward_proj",  # the last since dense_act_fn beside it still says "relu"
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TINY.to_dict()))
def test_every_setting_is_kept_or_refused(name):
    settings = TINY.to_dict() | {name: OTHER[name]}
    if name in REFUSED:
        with pytest.raises(ModelError, match={"model_type": "umt5"}.get(name, name)):
            from_hf(settings, model_of_theirs(TINY, False, 0).state_dict())
        return
    theirs = model_of_theirs(T5Config.from_dict(dict(settings), attn_implementation="eager"), False, 0)
    assert_same(from_hf(settings, theirs.state_dict()), theirs)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            {"feed_forward_proj": "gated-silu"},
            "feed_forward_proj='gated-silu' is not supported; supported are: ",
        ),
        ({"feed_forward_proj": "gelu"}, "feed_forward_proj='gelu'"),
        ({"a_setting_of_next_year": 3}, "a_setting_of_next_year"),
        ({"d_kv": None}, "no d_kv"),
        ({"relative_attention_max_distance": 16}, "max_distance=16 more than half"),
        ({"relative_attention_num_buckets": 3}, "n_buckets=3 must be at least 4"),
    ],
)
def test_what_we_do_not_have_is_refused_by_name(change, name):
    with pytest.raises(ValueError, match=name):
        from_hf(TINY.to_dict() | change, model_of_theirs(TINY, False, 0).state_dict())


# As the settings of google/t5-large-ssm and of flan-t5, whose files are older than transformers 5.
OLD = {
    "model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_ff": 5, "d_kv": 3, "d_model": 8,
    "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 1, "initializer_factor": 1.0,
    "is_encoder_decoder": True, "layer_norm_epsilon": 1e-6, "n_positions": 512, "num_decoder_layers": 2, "num_heads": 2,
    "num_layers": 1, "output_past": True, "pad_token_id": 0, "relative_attention_num_buckets": 32, "use_cache": True,
    "vocab_size": 9,
}  # fmt: skip
OLD_V1_1 = OLD | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


@pytest.mark.parametrize("v1_1", [False, True])
def test_files_from_before_transformers_5(v1_1):
    settings = OLD_V1_1 if v1_1 else OLD
    theirs = model_of_theirs(settings, v1_1, 0)
    state = theirs.state_dict()
    state["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(32, 2)
    ours = from_hf(settings, state)
    assert_same(ours, theirs)
    assert (ours.config.tie_embeddings, ours.config.scale_logits) == (not v1_1, not v1_1)


def test_the_file_needs_an_embedding_once_and_all_copies_equal():
    theirs = model_of_theirs(TINY, False, 0)
    state = theirs.state_dict()
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    assert_same(from_hf(TINY.to_dict(), {name: t for name, t in state.items() if name not in copies}), theirs)
    for name in copies[:2]:
        with pytest.raises(ModelError, match=f"{name} differs from the embedding that it is tied to"):
            from_hf(TINY.to_dict(), state | {name: torch.ones(9, 8)})


def test_a_head_of_its_own_has_to_be_there():
    state = model_of_theirs(OLD_V1_1, True, 0).state_dict()
    del state["lm_head.weight"]
    with pytest.raises(ModelError, match=r"lm_head\.weight is missing"):
        from_hf(OLD_V1_1, state)

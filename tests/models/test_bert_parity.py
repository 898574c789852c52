"""Our BERT gives the numbers of transformers: with and without head and pooler, on random models and on MiniLM."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import both_ways, lengths, made, quick, seeds
from transformers import BertConfig, BertForMaskedLM, BertModel

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
        if ours.pooler is not None and side == "right":
            assert (ours.pool(output) - result.pooler_output).abs().max() <= 1e-5


@quick
@given(bert, seeds, lengths, st.sampled_from(["left", "right"]))
def test_masked_language_model(settings, seed, lengths, side):
    theirs = made(BertForMaskedLM, BertConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, lengths, side)
    assert_same(ours, back, lengths, side)  # the settings came back too, not only the tensors
    assert ours.head.weight is ours.tokens.weight
    assert ours.config.head == "mlm"
    assert not ours.config.pooler
    assert not ours.training


@quick
@given(bert, seeds, lengths, st.sampled_from(["left", "right"]))
def test_encoder_with_pooler(settings, seed, lengths, side):
    theirs = made(BertModel, BertConfig(**settings), seed)
    ours, back = both_ways(theirs)
    assert_same(ours, theirs, lengths, side)
    assert_same(ours, back, lengths, side)
    assert ours.config.head == "none"
    assert ours.config.pooler

"""GPT: causality, masks, positions beyond the trained length, head masks, and its sentences."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES
from course_lib.nn.attention import causal_mask, padding_mask, prefix_mask
from course_lib.nn.cache import KVCache
from course_lib.nn.positions import alibi_slopes, sinusoidal_table

POSITIONS = CHOICES["position"]
RELATIVE = ("rope", "alibi", "t5", "none")
# Logits near 1 after two layers: some hundred float32 roundings of 6e-8.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def tiny(position="learned", **changes):
    torch.manual_seed(0)
    config = {"vocab_size": 11, "context": 8, "d_model": 12, "n_layers": 2, "n_heads": 3, "position": position}
    model = GPT(GPTConfig(**(config | changes)))
    if position == "learned":
        model.position.share_last = True
    for parameter in model.parameters():  # far from the small initialisation, where every mistake looks small
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def some_ids(n, batch=2):
    return torch.randint(11, (batch, n), generator=torch.Generator().manual_seed(1))


def embedding_gradient(model, ids, t, **options):
    """How the logits at position t depend on each token's embedding: "tokens", absolute values summed."""
    rows = []
    hook = model.token_embedding.register_forward_hook(
        lambda module, args, output: rows.append(output.detach().requires_grad_()) or rows[-1]
    )
    logits = model(ids, **options)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, t].cos().sum(), rows[0])
    return gradient[0].abs().sum(-1)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("n", [1, 7, 20])  # 20 lies far beyond the context of 8
def test_causal_by_gradient_and_beyond_the_context(position, n):
    model, ids = tiny(position), some_ids(n)
    assert model(ids).shape == (2, n, 11)
    for t in {0, n // 2, n - 1}:
        gradient = embedding_gradient(model, ids, t)
        assert (gradient[t + 1 :] == 0).all()
        assert (gradient[: t + 1] > 0).all()


@pytest.mark.parametrize("position", POSITIONS)
def test_the_longer_text_leaves_earlier_logits_alone(position):
    model, ids = tiny(position), some_ids(20)
    assert_close(model(ids)[:, :6], model(ids[:, :6]), **CLOSE)


@pytest.mark.parametrize("position", POSITIONS)
def test_weights_come_with_the_same_logits(position):
    model, ids = tiny(position, n_kv_heads=1), some_ids(9)
    logits, weights = model(ids, return_weights=True)
    assert_close(logits, model(ids), **CLOSE)
    assert len(weights) == 2
    for layer in weights:
        assert layer.shape == (2, 3, 9, 9)
        assert (layer[..., ~causal_mask(9)] == 0).all()
        assert_close(layer.sum(-1), torch.ones(2, 3, 9), **CLOSE)


@pytest.mark.parametrize("position", POSITIONS)
def test_padding_on_the_right_changes_nothing(position):
    model, ids = tiny(position), some_ids(9)
    padded = model(ids, mask=padding_mask(torch.tensor([9, 5]), 9))
    assert_close(padded[0], model(ids)[0], **CLOSE)
    assert_close(padded[1, :5], model(ids[1:, :5])[0], **CLOSE)


@pytest.mark.parametrize("position", POSITIONS)
def test_padding_on_the_left_matters_to_absolute_positions_only(position):
    model, ids = tiny(position), some_ids(9)
    keep = torch.ones(2, 1, 1, 9, dtype=torch.bool)
    keep[..., :3] = False
    shifted, alone = model(ids, mask=keep)[:, 3:], model(ids[:, 3:])
    if position in RELATIVE:
        assert_close(shifted, alone, **CLOSE)
    else:
        assert (shifted - alone).abs().max() > 0.1


@pytest.mark.parametrize("position", POSITIONS)
def test_order_matters_to_all_but_a_model_without_positions_and_causality(position):
    model, ids, order = tiny(position), some_ids(9), torch.tensor([3, 0, 8, 1, 7, 2, 6, 5, 4])
    if position != "t5":
        both_ways = model(ids[:, order], causal=False) - model(ids, causal=False)[:, order]
        if position == "none":
            assert_close(both_ways, torch.zeros_like(both_ways), **CLOSE)
        else:
            assert both_ways.abs().max() > 0.1
    assert (model(ids[:, order]) - model(ids)[:, order]).abs().max() > 0.1


def test_absolute_positions_are_added_to_the_embedding():
    ids, inputs = some_ids(9), []
    for position in ("learned", "sinusoidal"):
        model = tiny(position)
        model.blocks[0].register_forward_hook(lambda module, args, output: inputs.append(args[0]))
        model(ids)
        inputs.append(model.token_embedding(ids))
    assert_close(inputs[0], inputs[1] + tiny().position(9))
    assert_close(inputs[2], inputs[3] * math.sqrt(12) + sinusoidal_table(9, 12))


@torch.no_grad()
def test_the_one_sided_bias_of_t5_is_refused_where_later_tokens_show():
    """All later positions would share one bucket, and a model could not tell their order."""
    model, ids = tiny("t5"), some_ids(7)
    for mask in (None, prefix_mask(7, 4)):
        with pytest.raises(ValueError, match=r'position="t5" has the one-sided buckets .* use another encoding'):
            model(ids, mask, causal=False)
    cache = KVCache(model.config, 2, 8)
    with pytest.raises(ValueError, match="one-sided buckets"):
        model(ids, causal=False, cache=cache)
    assert cache.length == 0
    for piece in ids.split(3, dim=1):  # later pieces of a causal text have a mask in place of causal=True inside
        model(piece, cache=cache)


def test_prefix_lm():
    model, ids = tiny(), some_ids(7)
    gradient = embedding_gradient(model, ids, 1, mask=prefix_mask(7, 4), causal=False)
    assert ((gradient > 0) == torch.tensor([True] * 4 + [False] * 3)).all()


@pytest.mark.parametrize("position", POSITIONS)
def test_bfloat16_all_the_way(position):
    model, ids = tiny(position), some_ids(9)
    exact = model(ids)
    rough = model.bfloat16()(ids)
    assert rough.dtype == torch.bfloat16
    # Eight bits of mantissa: 0.4% a rounding, some ten of them on the way.
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()
    assert (model(ids, return_weights=True)[0] - exact).abs().max() < 0.1 * exact.abs().max()


def test_head_mask_over_layers():
    model, ids = tiny(), some_ids(6)
    ones = torch.ones(2, 3, requires_grad=True)
    assert_close(model(ids, head_mask=ones), model(ids), **CLOSE)
    (importance,) = torch.autograd.grad(model(ids, head_mask=ones).cos().sum(), ones)
    assert (importance != 0).all()
    without = torch.ones(2, 3)
    without[1, 2] = 0
    pruned = tiny()
    pruned.blocks[1].attention.out.weight.data[:, 8:12] = 0
    assert_close(model(ids, head_mask=without), pruned(ids), **CLOSE)


def test_a_function_of_your_own_in_every_layer():
    model, ids = tiny("rope"), some_ids(6)
    expected = model(ids)

    def own(query, key, value, mask):
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        return scores.masked_fill(~mask, -math.inf).softmax(-1) @ value

    for block in model.blocks:
        block.attention.attend = own
    assert_close(model(ids), expected, **CLOSE)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_new_model_knows_nothing(position, tied):
    torch.manual_seed(0)
    model = GPT(GPTConfig(100, context=64, d_model=64, n_layers=2, position=position, tie_embeddings=tied))
    ids = torch.randint(100, (8, 65))
    loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    # Logits of standard deviation 1/2 cost (1/2)^2 / 2 = 0.125 nats on top of ln 100; tied ones see the token itself.
    assert loss.item() == pytest.approx(math.log(100), abs=0.5)


def test_tied_means_one_matrix():
    assert (
        sum(p.numel() for p in tiny(tie_embeddings=False).parameters()) - sum(p.numel() for p in tiny().parameters())
        == 11 * 12
    )


def test_sentences():
    model = tiny()
    with pytest.raises(ValueError, match="from 3 to 11, but the vocabulary has 11"):
        model(torch.tensor([[3, 11]]))
    with pytest.raises(ValueError, match="the text is empty"):
        model(torch.zeros(1, 0, dtype=torch.long))
    with pytest.raises(ValueError, match='position="rotary" is not supported; use one of learned'):
        GPTConfig(11, position="rotary")
    with pytest.raises(ValueError, match="n_layers=0 must be a whole number, at least 1"):
        GPTConfig(11, n_layers=0)


def test_sizes_and_shapes_that_cannot_be_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"norm_eps=-1\.0 must be a number above 0"):
        GPTConfig(7, norm_eps=-1.0)
    with pytest.raises(ValueError, match="d_shared=-4 must be a whole number, at least 0"):
        GPTConfig(7, n_experts=2, activation="swiglu", bias=False, d_shared=-4)
    with pytest.raises(ValueError, match="d_ff=0 must be a whole number, at least 1"):
        GPTConfig(vocab_size=5, d_ff=0)
    for sizes, message in (
        ({"d_model": 30, "n_heads": 4}, "d_model=30 must be a multiple of n_heads=4"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_heads=4 must be a multiple of n_kv_heads=3"),
        ({"n_experts": 2, "top_k": 3, "activation": "swiglu", "bias": False}, "top_k=3 must lie between 1 and"),
    ):
        with pytest.raises(ValueError, match=message):
            GPTConfig(5, **sizes)


def test_a_bias_of_ones_own_takes_the_place_of_alibi():
    torch.manual_seed(0)
    config = GPTConfig(11, d_model=8, n_layers=1, n_heads=2, position="alibi")
    model, ids = GPT(config), torch.arange(6)[None]
    expected = model(ids)
    distance = (torch.arange(6)[:, None] - torch.arange(6)).abs()
    model.position.forward = lambda n, device, *positions: -alibi_slopes(2)[:, None, None] * distance
    torch.testing.assert_close(model(ids), expected)


def test_the_bare_gpt_on_the_page_computes_what_the_course_s_does():
    page = Path(__file__).parents[2] / "book" / "library" / "models.md"
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), re.DOTALL):
        exec(code, names)
    gpt, bare, ids = (names[name] for name in ("gpt", "bare", "ids"))
    assert_close(names["bare_logits"], names["logits"], **CLOSE)
    fresh = names["BareGPT"](vocab_size=256, context=32, d_model=64, n_layers=2, n_heads=4)
    loss = cross_entropy(fresh(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    # Logits of 64 terms have a standard deviation of 0.02 sqrt(64) = 0.16, which costs half its square: 0.013 nats.
    assert loss.item() == pytest.approx(math.log(256), abs=0.1)
    for parameter in gpt.parameters():  # biases are 0 and gains 1 at the start
        parameter.data += 0.3 * torch.randn_like(parameter)
    bare.load_state_dict(gpt.state_dict())
    # The logits are now ten times larger, and so are their roundings.
    assert_close(bare(ids), gpt(ids), rtol=1e-5, atol=1e-4)
    text = bare.generate(ids[:, :30], n_new=4, temperature=1e-6)
    for end in range(30, 34):
        assert text[:, end].tolist() == gpt(text[:, max(0, end - 32) : end])[:, -1].argmax(-1).tolist()

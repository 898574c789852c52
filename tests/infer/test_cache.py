"""A text read through a cache, in whatever pieces, gives the logits of the text read at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.models import GPT, VLM, GPTConfig, ImageEncoderConfig, VLMConfig
from course_lib.models.gpt import CHOICES
from course_lib.nn.attention import prefix_mask
from course_lib.nn.cache import KVCache
from course_lib.nn.positions import rotate

POSITIONS = CHOICES["position"]
EXPERTS = {"activation": "swiglu", "bias": False, "n_experts": 4}

configs = st.builds(
    lambda kv, groups, half, experts, **rest: GPTConfig(
        vocab_size=11,
        context=16,
        d_model=2 * half * kv * groups,
        n_heads=kv * groups,
        n_kv_heads=kv,
        **(EXPERTS if experts else {}),
        **rest,
    ),
    kv=st.integers(1, 2),
    groups=st.integers(1, 3),
    half=st.integers(1, 3),
    n_layers=st.integers(1, 2),
    position=st.sampled_from(POSITIONS),
    norm=st.sampled_from(["layer", "rms"]),
    experts=st.booleans(),
    qkv_bias=st.booleans(),
    tie_embeddings=st.booleans(),
)
# Lengths of the pieces of a text of at most 16 tokens.
pieces = st.lists(st.integers(1, 5), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) <= 16)


def made(config, seed=0):
    """Weights so large that attention is sharp; a position that is wrong by one then shows."""
    torch.manual_seed(seed)
    model = GPT(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.4)
    return model


def read(model, ids, sizes, cache, mask=None, positions=None, **options):
    """Logits of a text that is read piece by piece."""
    found = []
    for part in ids.split(sizes, dim=1):
        start, end = cache.length, cache.length + part.shape[1]
        keys = None if mask is None else mask[..., :end]
        places = None if positions is None else positions[:, start:end]
        found.append(model(part, keys, positions=places, cache=cache, **options))
        assert cache.length == end
    return torch.cat(found, dim=1)


def assert_close(found, expected):
    """Sums of a few dozen float32 products in another order: well below 1e-5 of the largest."""
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


@settings(max_examples=60, deadline=None)
@given(configs, st.integers(0, 2**31), pieces, st.integers(1, 3))
@torch.no_grad()
def test_any_split_gives_the_logits_of_the_whole(config, seed, sizes, batch):
    model = made(config, seed)
    ids = torch.randint(11, (batch, sum(sizes)))
    cache = KVCache(config, batch, 16)
    assert_close(read(model, ids, sizes, cache), model(ids))


@settings(max_examples=60, deadline=None)
@given(configs, st.integers(0, 2**31), pieces, st.lists(st.integers(0, 15), min_size=1, max_size=3))
@torch.no_grad()
def test_texts_of_several_lengths_padded_on_the_left(config, seed, sizes, padding):
    model = made(config, seed)
    n = sum(sizes)
    padding = torch.tensor([min(size, n - 1) for size in padding])
    ids = torch.randint(11, (len(padding), n))
    mask = (torch.arange(n) >= padding[:, None])[:, None, None]
    positions = (torch.arange(n) - padding[:, None]).clamp(min=0)
    found = read(model, ids, sizes, KVCache(config, len(padding), n), mask, positions)
    for row, blank in enumerate(padding.tolist()):
        assert_close(found[row, blank:], model(ids[row : row + 1, blank:])[0])


@settings(max_examples=40, deadline=None)
@given(configs, st.integers(0, 2**31), pieces, st.data())
@torch.no_grad()
def test_what_is_forgotten_leaves_no_trace(config, seed, sizes, data):
    model = made(config, seed)
    first = torch.randint(11, (2, sum(sizes)))
    kept = data.draw(st.integers(0, sum(sizes) - 1))
    again = torch.cat((first[:, :kept], torch.randint(11, (2, 16 - kept))), dim=1)
    cache = KVCache(config, 2, 16)
    read(model, first, sizes, cache)
    cache.rewind(kept)
    assert_close(model(again[:, kept:], cache=cache), model(again)[:, kept:])


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_weights_and_head_mask_pass_through_it(position):
    config = GPTConfig(vocab_size=11, context=8, d_model=8, n_layers=2, n_heads=2, position=position)
    model = made(config)
    ids = torch.randint(11, (2, 7))
    head_mask = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    logits, weights = model(ids, head_mask=head_mask, return_weights=True)
    cache = KVCache(config, 2, 7)
    model(ids[:, :3], cache=cache, head_mask=head_mask)
    later, later_weights = model(ids[:, 3:], cache=cache, head_mask=head_mask, return_weights=True)
    assert_close(later, logits[:, 3:])
    for found, expected in zip(later_weights, weights, strict=True):
        assert_close(found, expected[:, :, 3:])


@pytest.mark.parametrize("position", [position for position in POSITIONS if position != "t5"])  # which is causal only
@torch.no_grad()
def test_a_prefix_passes_through_it(position):
    model = made(GPTConfig(vocab_size=11, context=8, d_model=8, n_layers=2, n_heads=2, position=position))
    ids, cache = torch.randint(11, (2, 7)), KVCache(model.config, 2, 7)
    whole = prefix_mask(7, 3)
    expected = model(ids, whole, causal=False)
    assert_close(model(ids[:, :3], whole[:3, :3], causal=False, cache=cache), expected[:, :3])
    assert_close(model(ids[:, 3:6], whole[3:6, :6], causal=False, cache=cache), expected[:, 3:6])
    assert_close(model(ids[:, 6:], cache=cache), expected[:, 6:])
    blocks = torch.ones(
        7, 7, dtype=torch.bool
    )  # without causality at all, but for the first three not knowing the rest
    blocks[:3, 3:] = False
    cache.rewind(0)
    expected = model(ids, blocks, causal=False)
    assert_close(model(ids[:, :3], causal=False, cache=cache), expected[:, :3])
    assert_close(model(ids[:, 3:], causal=False, cache=cache), expected[:, 3:])


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_texts_that_share_a_row_keep_positions_of_their_own(position):
    model = made(GPTConfig(vocab_size=11, context=8, d_model=8, n_layers=2, n_heads=2, position=position))
    ids = torch.randint(11, (1, 7))
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    own = torch.block_diag(torch.ones(3, 3), torch.ones(4, 4)).bool()
    expected = model(ids, own, positions=positions)
    cache = KVCache(model.config, 1, 7)
    for start, end in ((0, 2), (2, 5), (5, 6), (6, 7)):
        found = model(ids[:, start:end], own[start:end, :end], positions=positions[:, start:end], cache=cache)
        assert_close(found, expected[:, start:end])


@torch.no_grad()
def test_functions_of_ones_own_work_with_it():
    config = GPTConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=4, n_kv_heads=2, position="rope")
    model = made(config)
    ids = torch.randint(11, (2, 6))
    expected = model(ids)

    def attend(query, key, value, mask=None):
        scores = query @ key.mT / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1) @ value

    for block in model.blocks:
        block.attention.attend = attend
        block.attention.rotate = lambda x, cos, sin: rotate(x, cos, sin)
    assert_close(read(model, ids, [2, 3, 1], KVCache(config, 2, 6)), expected)
    alibi = made(GPTConfig(vocab_size=11, d_model=8, n_layers=1, n_heads=2, position="alibi"))
    alibi.blocks[0].attention.attend = attend
    with pytest.raises(ValueError, match="takes no bias"):
        alibi(ids, cache=KVCache(alibi.config, 2, 6))


@torch.no_grad()
def test_a_model_that_sees_reads_images_once():
    decoder = GPTConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=2, position="rope")
    model = VLM(VLMConfig(ImageEncoderConfig(image_size=16, d_model=4), decoder, image_token=10)).eval()
    images = torch.rand(2, 3, 16, 16)
    ids = torch.tensor([[1, 10, 2, 3, 4], [10, 5, 6, 7, 8]])
    cache = KVCache(decoder, 2, 5)
    expected = model(ids, images)
    assert_close(model(ids[:, :3], images, cache=cache), expected[:, :3])
    assert_close(model(ids[:, 3:], cache=cache), expected[:, 3:])


def test_refusals():
    config = GPTConfig(vocab_size=11, context=4, d_model=8, n_layers=2, n_heads=2)
    model = GPT(config)
    ids = torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="0 rows of 3 tokens holds nothing"):
        KVCache(config, 0, 3)
    with pytest.raises(ValueError, match="2 rows of 0 tokens"):
        KVCache(config, 2, 0)
    cache = KVCache(config, 2, 5)
    with pytest.raises(ValueError, match="no gradient passes through a cache"):
        model(ids, cache=cache)
    with torch.no_grad():
        with pytest.raises(ValueError, match=r"made for 2 rows, but 1 come"):
            model(ids[:1], cache=cache)
        with pytest.raises(ValueError, match="empty"):
            model(ids[:, :0], cache=cache)
        model(ids, cache=cache)
        with pytest.raises(ValueError, match=r"room for 5 tokens a row; 3 are in it and 3 more do not fit"):
            model(ids, cache=cache)
        with pytest.raises(ValueError, match=r"5 tokens, but the model has 4 positions"):
            model(ids[:, :2], cache=cache)
        assert cache.length == 3  # what was refused is not in it
        for n in (-1, 4):
            with pytest.raises(ValueError, match=f"holds 3 tokens and cannot go back to {n}"):
                cache.rewind(n)
        with pytest.raises(
            ValueError, match=r"cache is torch.float64, but the keys are torch.float32; make it with dtype="
        ):
            model(ids, cache=KVCache(config, 2, 3, dtype=torch.float64))

"""T5: who sees what, weights on request, what the decoder reads, and its sentences."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.testing import assert_close

from course_lib.interop import from_pretrained, save_pretrained
from course_lib.models import T5, T5Config
from course_lib.models.t5 import CHOICES, _mask_of_keys, shift_right
from course_lib.nn.attention import causal_mask
from course_lib.train.seq2seq import seq2seq_loss

VARIANTS = [{}, {"activation": "geglu", "tie_embeddings": False}]
# Logits near 1 after two layers: some hundred float32 roundings of 6e-8.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def tiny(**changes):
    torch.manual_seed(0)
    config = {"vocab_size": 11, "d_model": 12, "n_layers": 2, "n_heads": 3, "n_buckets": 8, "max_distance": 10}
    model = T5(T5Config(**(config | changes)))
    for name, parameter in model.named_parameters():  # far from the start, where every mistake looks small
        if name != "token_embedding.weight":
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def some_ids(n, batch=2, seed=1):
    return torch.randint(11, (batch, n), generator=torch.Generator().manual_seed(seed))


def gradients(model, ids, decoder_ids, t, **options):
    """How the logits at target position t depend on each token's embedding: sums over sources and over targets."""
    rows = []
    hook = model.token_embedding.register_forward_hook(
        lambda module, args, output: rows.append(output.detach().requires_grad_()) or rows[-1]
    )
    logits = model(ids, decoder_ids, **options)
    hook.remove()
    return [g[0].abs().sum(-1) for g in torch.autograd.grad(logits[0, t].cos().sum(), rows)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_decoder_sees_all_of_the_source_and_no_later_target(variant):
    model = tiny(**variant)
    for t in (0, 7, 14):
        source, target = gradients(model, some_ids(20), some_ids(15), t)
        assert (source > 0).all()
        assert (target[: t + 1] > 0).all()
        assert (target[t + 1 :] == 0).all()


def test_a_longer_target_leaves_earlier_logits_alone_and_the_source_is_encoded_once():
    model, ids, decoder_ids = tiny(), some_ids(6), some_ids(15)
    memory, whole = model.encode(ids), model(ids, decoder_ids)
    for n in (1, 4, 15):
        assert_close(model.decode(decoder_ids[:, :n], memory), whole[:, :n], **CLOSE)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_the_source_has_no_influence(variant, side):
    model, ids, decoder_ids = tiny(**variant), some_ids(9), some_ids(5)
    real = torch.ones(2, 9, dtype=torch.bool)
    padding = slice(0, 4) if side == "left" else slice(5, 9)
    real[:, padding] = False
    alone = model(ids[real].view(2, 5), decoder_ids)
    assert_close(model(ids, decoder_ids, real), alone, **CLOSE)
    assert_close(model(torch.where(real, ids, 7), decoder_ids, real), alone, **CLOSE)
    assert (model(ids, decoder_ids) - alone).abs().max() > 0.01  # the mask did it
    source, _ = gradients(model, ids, decoder_ids, 4, mask=real)
    assert ((source > 0) == real[0]).all()


def test_padding_of_the_target_has_no_influence():
    model, ids, decoder_ids = tiny(), some_ids(9), some_ids(8)
    real = torch.ones(2, 8, dtype=torch.bool)
    real[:, :3] = False
    assert_close(model(ids, decoder_ids, decoder_mask=real)[:, 3:], model(ids, decoder_ids[:, 3:]), **CLOSE)


def test_weights_come_with_the_same_logits():
    model, ids, decoder_ids = tiny(n_decoder_layers=3), some_ids(9), some_ids(5)
    real = torch.arange(9).expand(2, 9) < torch.tensor([[9], [6]])
    logits, weights = model(ids, decoder_ids, real, return_weights=True)
    assert_close(logits, model(ids, decoder_ids, real), **CLOSE)
    shapes = {"encoder": (2, (2, 3, 9, 9)), "decoder": (3, (2, 3, 5, 5)), "cross": (3, (2, 3, 5, 9))}
    assert weights.keys() == shapes.keys()
    for kind, (layers, shape) in shapes.items():
        assert len(weights[kind]) == layers
        for layer in weights[kind]:
            assert layer.shape == shape
            assert_close(layer.sum(-1), torch.ones(shape[:-1]), **CLOSE)
            if kind == "decoder":
                assert (layer[..., ~causal_mask(5)] == 0).all()
            else:
                assert (layer[1, ..., 6:] == 0).all()
                assert (layer[0] > 0).all()
    encoder, decoder = [], []
    memory = model.encode(ids, real, encoder)
    assert_close(model.decode(decoder_ids, memory, real, decoder), logits)
    assert_close({"encoder": encoder, "decoder": decoder[::2], "cross": decoder[1::2]}, weights)


def test_one_bias_serves_all_layers_and_cross_attention_has_none():
    model = tiny()
    assert [name for name, _ in model.named_parameters() if "position" in name] == [
        "encoder.position.bias.weight",
        "decoder.position.bias.weight",
    ]
    for layer in model.modules():  # without content, weights are what the bias says
        if hasattr(layer, "qkv"):
            layer.qkv.weight.data[: layer.qkv_sizes[0]] = 0
    _, weights = model(some_ids(9), some_ids(5), return_weights=True)
    for kind, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        bias = stack.position(9 if kind == "encoder" else 5)
        if kind == "decoder":
            bias = bias.masked_fill(~causal_mask(5), -math.inf)
        for layer in weights[kind]:
            assert_close(layer, bias.softmax(-1).expand_as(layer))
    for layer in weights["cross"]:
        assert_close(layer, torch.full_like(layer, 1 / 9))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_a_new_model_knows_nothing(activation, tied, scaled):
    torch.manual_seed(0)
    model = T5(T5Config(100, 64, n_layers=2, activation=activation, tie_embeddings=tied, scale_logits=scaled))
    batch = torch.randint(100, (8, 64)), torch.randint(100, (8, 64))
    logits, weights = model(*batch, return_weights=True)
    # Logits of standard deviation 1/2 cost (1/2)^2 / 2 = 0.125 nats on top of ln 100; tied ones see the token itself.
    assert seq2seq_loss(model, batch).mean.item() == pytest.approx(math.log(100), abs=0.5)
    assert 0.2 < logits.std() < 1
    # Scores of standard deviation s, normally distributed, make this exp(s^2): 2.7 for 1, nearly 64 for sqrt(head_dim).
    for layer in weights["encoder"]:
        assert 1.5 < 64 * layer.square().sum(-1).mean() < 6


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_all_the_way(variant):
    model, ids, decoder_ids = tiny(**variant), some_ids(9), some_ids(5)
    exact = model(ids, decoder_ids)
    rough = model.bfloat16()(ids, decoder_ids)
    assert rough.dtype == torch.bfloat16
    # Eight bits of mantissa: 0.4% a rounding, some ten of them on the way.
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("activation", CHOICES["activation"])
def test_any_t5_can_be_saved(tmp_path, activation, tied, scaled):
    model = tiny(
        activation=activation, tie_embeddings=tied, scale_logits=scaled, head_dim=5, d_ff=7, n_decoder_layers=1
    )
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == model.config
    assert (again.lm_head.weight is again.token_embedding.weight) == tied
    assert len(list(again.parameters())) == len(list(model.parameters()))
    ids, decoder_ids = some_ids(9), some_ids(5)
    assert torch.equal(again(ids, decoder_ids), model(ids, decoder_ids))


def test_shift_right():
    targets = torch.tensor([[5, 6, 7], [8, -100, -100]])
    assert torch.equal(shift_right(targets, 2), torch.tensor([[2, 5, 6], [2, 8, 2]]))
    assert torch.equal(targets, torch.tensor([[5, 6, 7], [8, -100, -100]]))
    with pytest.raises(ValueError, match="the targets are empty"):
        shift_right(targets[:, :0], 2)


def test_the_loss_by_hand():
    model, source, targets = tiny(), some_ids(9), some_ids(4)
    source[1, 6:], targets[0, 2:] = 0, -100
    source[source == 3] = 4
    padded = source.masked_fill(torch.arange(9) >= torch.tensor([[9], [6]]), 3)
    surprises = []
    for row, n_source, n_target in ((0, 9, 2), (1, 6, 4)):
        read = torch.cat((torch.tensor([9]), targets[row, : n_target - 1]))
        logits = model(source[row : row + 1, :n_source], read[None])[0]
        surprises += [-logits[t].log_softmax(0)[targets[row, t]] for t in range(n_target)]
    assert_close(
        seq2seq_loss(model, (padded, targets), start_id=9, pad_id=3).mean, torch.stack(surprises).mean(), **CLOSE
    )


def test_sentences():
    model, ids = tiny(), some_ids(4)
    with pytest.raises(ValueError, match="from 3 to 11, but the vocabulary has 11"):
        model(torch.tensor([[3, 11]]), ids[:1])
    with pytest.raises(ValueError, match="from 3 to 11, but the vocabulary has 11"):
        model(ids[:1], torch.tensor([[3, 11]]))
    with pytest.raises(ValueError, match="the text is empty"):
        model(ids[:, :0], ids)
    with pytest.raises(ValueError, match="the text is empty"):
        model(ids, ids[:, :0])
    with pytest.raises(ValueError, match=r"the mask has the shape \(2, 3\), but the tokens it is for have \(2, 4\)"):
        _mask_of_keys(torch.ones(2, 3, dtype=torch.bool), ids.shape)
    with pytest.raises(TypeCheckError):
        model(ids, ids, torch.ones(2, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"activation": "swiglu"}, 'activation="swiglu" is not supported; use one of relu, geglu'),
        ({"n_heads": 5}, "d_model=128 must be a multiple of n_heads=5, or set head_dim"),
        ({"n_heads": 0}, "n_heads=0 must be a whole number, at least 1"),
        ({"n_decoder_layers": 0}, "n_decoder_layers=0 must be a whole number, at least 1"),
        ({"n_buckets": 3}, "n_buckets=3 must be at least 4"),
        ({"max_distance": 16}, "max_distance=16 more than half"),
    ],
)
def test_what_cannot_be_built(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        T5Config(11, **settings)

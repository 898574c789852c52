"""BERT: both sides are seen, masks, token types, head masks, sentence embeddings, and its sentences."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.interop import from_pretrained, minilm, save_pretrained, sentence_embeddings
from course_lib.models import Bert, BertConfig
from course_lib.nn.attention import causal_mask, padding_mask

# Outputs near 1 after two layers: some hundred float32 roundings of 6e-8.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def tiny(**changes):
    torch.manual_seed(0)
    config = {"vocab_size": 11, "context": 8, "d_model": 12, "n_layers": 2, "n_heads": 3, "norm_eps": 1e-5}
    model = Bert(BertConfig(**(config | changes)))
    for parameter in model.parameters():  # far from the small initialisation, where every mistake looks small
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def some_ids(n, batch=2):
    return torch.randint(11, (batch, n), generator=torch.Generator().manual_seed(1))


def depends_on(model, ids, t, **options):
    """Which tokens the output at position t depends on, by the gradient of their vectors."""
    rows = []
    model.token_embedding.register_forward_hook(lambda module, args, output: rows.append(output))
    output = model(ids, **options)
    (gradient,) = torch.autograd.grad(output[:, t].cos().sum(), rows[-1])
    return gradient.abs().sum((0, 2)) > 0


def test_every_token_sees_both_sides():
    for t in range(7):
        assert depends_on(tiny(), some_ids(7), t).all()
        assert depends_on(tiny(), some_ids(7), t, mask=causal_mask(7)).tolist() == [True] * (t + 1) + [False] * (6 - t)


def test_weights_come_with_the_same_output():
    model, ids = tiny(), some_ids(8)
    output, weights = model(ids, return_weights=True)
    assert_close(output, model(ids), **CLOSE)
    assert [layer.shape for layer in weights] == [(2, 3, 8, 8)] * 2
    for layer in weights:
        assert (layer > 0).all()
        assert_close(layer.sum(-1), torch.ones(2, 3, 8), **CLOSE)


@pytest.mark.parametrize("head", ["mlm", "none"])
def test_padding_changes_nothing(head):
    model, ids = tiny(head=head), some_ids(8)
    padded = model(ids, mask=padding_mask(torch.tensor([8, 5]), 8))
    assert_close(padded[0], model(ids)[0], **CLOSE)
    assert_close(padded[1, :5], model(ids[1:, :5])[0], **CLOSE)


def test_two_texts_in_a_row_are_as_each_alone():
    model, ids = tiny(), some_ids(8, batch=1)
    text = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    together = model(ids, mask=text[:, None] == text, positions=torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4]]))
    assert_close(together, torch.cat((model(ids[:, :3]), model(ids[:, 3:])), dim=1), **CLOSE)


def test_token_types():
    model, ids = tiny(n_token_types=3), some_ids(6)
    types = torch.tensor([[0, 0, 1, 1, 2, 2]]).expand(2, -1)
    assert torch.equal(model(ids), model(ids, token_types=torch.zeros_like(ids)))
    assert (model(ids, token_types=types) - model(ids)).abs().max() > 0.1
    model.token_types.weight.data[1:] = model.token_types.weight[0].detach()
    assert torch.equal(model(ids, token_types=types), model(ids))


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
    assert (model(ids, head_mask=without) - model(ids)).abs().max() > 0.01


def test_bfloat16_all_the_way():
    model, ids = tiny(), some_ids(8)
    exact = model(ids)
    rough = model.bfloat16()(ids)
    assert rough.dtype == torch.bfloat16
    # Eight bits of mantissa: 0.4% a rounding, some ten of them on the way.
    assert (rough - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("d_model", [32, 128])
@pytest.mark.parametrize("n_layers", [1, 6])
def test_a_new_model_knows_nothing(d_model, n_layers):
    torch.manual_seed(0)
    model = Bert(BertConfig(100, 64, d_model, n_layers))
    ids = torch.randint(100, (8, 64))
    logits = model(ids)
    # Vectors of length sqrt(d) against rows with numbers of 0.5 / sqrt(d): logits of standard deviation 1/2.
    assert logits.std().item() == pytest.approx(0.5, abs=0.1)
    # And that costs (1/2)^2 / 2 = 0.125 nats on top of ln 100.
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(100, (8 * 64,)))
    assert loss.item() == pytest.approx(math.log(100) + 0.125, abs=0.1)


@pytest.mark.parametrize("head", ["mlm", "none"])
@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu", "quick_gelu"])
def test_any_bert_can_be_saved(tmp_path, head, pooler, activation):
    model = tiny(head=head, pooler=pooler, activation=activation, d_ff=5, n_token_types=1)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again(some_ids(8)), model(some_ids(8)))


def test_the_output_layer_is_the_embedding():
    model = tiny()
    model(some_ids(8)).sum().backward()
    assert model.lm_head.weight is model.token_embedding.weight
    assert sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in tiny(head="none").parameters()) == (
        12 * 12 + 12 + 2 * 12 + 11  # dense layer, norm, and a bias a token
    )


def test_the_pooler_reads_the_first_token():
    model = tiny(head="none", pooler=True)
    hidden = model(some_ids(8))
    pooled = model.pool(hidden)
    assert_close(pooled, torch.tanh(hidden[:, 0] @ model.pooler.weight.T + model.pooler.bias))
    with pytest.raises(ValueError, match="this model has no pooler; build it with pooler=True"):
        tiny().pool(hidden)


def test_sentences():
    model = tiny()
    with pytest.raises(ValueError, match="from 3 to 11, but the vocabulary has 11"):
        model(torch.tensor([[3, 11]]))
    with pytest.raises(ValueError, match="the text is empty"):
        model(torch.zeros(1, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="has 9 tokens, but the model has 8 positions"):
        model(some_ids(9))
    with pytest.raises(ValueError, match="from 0 to 2, but the model has 2 of them"):
        model(torch.tensor([[1, 2]]), token_types=torch.tensor([[0, 2]]))
    with pytest.raises(ValueError, match=r"token_types has the shape \(1, 3\), but the ids \(1, 2\)"):
        model._types(model.token_embedding(torch.tensor([[1, 2]])), torch.tensor([[0, 1, 1]]))
    with pytest.raises(ValueError, match='activation="swish" is not supported; use one of gelu'):
        BertConfig(11, activation="swish")
    with pytest.raises(ValueError, match='head="nsp" is not supported; use one of mlm, none'):
        BertConfig(11, head="nsp")
    with pytest.raises(ValueError, match="n_token_types=0 must be a whole number, at least 1"):
        BertConfig(11, n_token_types=0)
    with pytest.raises(ValueError, match="d_model=10 must be a multiple of n_heads=4"):
        Bert(BertConfig(11, d_model=10))


TEXTS = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Stocks fell sharply on Monday.", "Cat", ""]


def test_embeddings_know_what_is_alike():
    model, tokenizer = minilm()
    embeddings = sentence_embeddings(model, tokenizer, TEXTS[:3])
    cosine = embeddings @ embeddings.T
    assert_close(cosine.diagonal(), torch.ones(3), **CLOSE)
    assert cosine[0, 1] > cosine[0, 2] + 0.3
    assert cosine[0, 1] > cosine[1, 2] + 0.3


def test_neither_padding_nor_company_changes_an_embedding():
    model, tokenizer = minilm()
    texts = [*TEXTS, "word " * 60]
    alone = torch.cat([sentence_embeddings(model, tokenizer, [text]) for text in texts])
    for batch_size in (1, 4, 32):
        assert_close(sentence_embeddings(model, tokenizer, texts, batch_size), alone, **CLOSE)
    tokenizer.enable_padding(length=100)
    assert_close(sentence_embeddings(model, tokenizer, texts), alone, **CLOSE)


@torch.no_grad()
def test_an_embedding_is_the_mean_of_the_hidden_states():
    model, tokenizer = minilm()
    hidden = model(torch.tensor([tokenizer.encode(TEXTS[0]).ids]))
    mean = hidden[0].mean(0)
    assert_close(sentence_embeddings(model, tokenizer, TEXTS)[0], mean / mean.norm(), **CLOSE)


def test_embeddings_in_bfloat16_have_length_one():
    model, tokenizer = minilm()
    exact = sentence_embeddings(model, tokenizer, TEXTS)
    rough = sentence_embeddings(model.bfloat16(), tokenizer, TEXTS)
    assert_close(rough.norm(dim=-1), torch.ones(len(TEXTS)), **CLOSE)
    # Eight bits of mantissa, 0.4 % a rounding, over six layers.
    assert ((rough * exact).sum(-1) > 0.99).all()


def test_embeddings_in_sentences():
    model, tokenizer = minilm()
    with pytest.raises(ValueError, match="there are no texts"):
        sentence_embeddings(model, tokenizer, [])
    with pytest.raises(ValueError, match=r"for one text: \[text\]"):
        sentence_embeddings(model, tokenizer, "Cat")
    for strange in (None, float("nan"), "\ud800", 3):
        with pytest.raises(ValueError, match="every text must be a string"):
            sentence_embeddings(model, tokenizer, iter(["Cat", strange]))  # items of iterators are not checked
    with pytest.raises(ValueError, match="has 602 tokens, but the model has 512 positions"):
        sentence_embeddings(model, tokenizer, ["Cat", "word " * 600])

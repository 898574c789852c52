"""Packing: nothing is lost, nothing is read twice, and a model sees each document as if it stood alone."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.constants import IGNORE_INDEX
from course_lib.data.corpora.wikipedia import wikipedia_leads
from course_lib.data.loading.packing import PADDING, Packed, best_fit, document_mask, pack
from course_lib.data.tokenizers import fast_bpe
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES

END = 99
documents = st.lists(st.lists(st.integers(0, 98), min_size=1, max_size=30).map(torch.tensor), min_size=1, max_size=12)


def stretches(packed: Packed):
    """(document, its tokens, targets, positions) for each unbroken stretch of one document in a row."""
    for row in range(len(packed)):
        place = 0
        for document, group in itertools.groupby(packed.documents[row].tolist()):
            there = slice(place, place + len(list(group)))
            yield document, packed.tokens[row, there], packed.targets[row, there], packed.positions[row, there]
            place = there.stop


@settings(deadline=None, max_examples=200)
@given(documents=documents, length=st.integers(1, 16))
def test_every_token_is_an_input_once_and_predicts_its_own_successor(documents, length):
    packed = pack(documents, length, END)
    assert packed.tokens.shape == (len(packed), length)
    found = {i: [] for i in range(len(documents))}
    for number, tokens, targets, positions in stretches(packed):
        if number == PADDING:
            assert (targets == IGNORE_INDEX).all()
            continue
        assert torch.equal(positions, torch.arange(len(tokens)))
        found[number].append((tokens.tolist(), targets.tolist()))
    for number, document in enumerate(documents):
        whole = [*document.tolist(), END]
        wanted = [
            (whole[at : at + length][: len(document) - at], whole[at + 1 : at + 1 + length])
            for at in range(0, len(document), length)
        ]
        assert sorted(found[number]) == sorted(wanted)
    assert packed.waste == pytest.approx(1 - sum(map(len, documents)) / packed.tokens.numel())


@given(sizes=st.lists(st.integers(1, 20), max_size=40), length=st.integers(20, 30))
def test_best_fit_is_what_its_name_says(sizes, length):
    room = {}
    for size, (row, column) in zip(sizes, best_fit(sizes, length), strict=True):
        fits = [left for left in room.values() if left >= size]
        assert room.setdefault(row, length) == (min(fits) if fits else length)
        assert column == length - room[row]
        room[row] -= size


@settings(deadline=None)
@given(documents=documents, length=st.integers(1, 16))
def test_no_two_rows_fit_into_one(documents, length):
    filled = (pack(documents, length, END).documents != PADDING).sum(dim=1).sort().values
    assert len(filled) == 1 or filled[0] + filled[1] > length


def test_the_waste_on_real_text():
    texts = [article.extract for article in wikipedia_leads()]
    tokenizer = fast_bpe.train_fast_bpe(texts, 4096)
    tokens = [tokenizer.encode(text) for text in texts]
    packed = pack(tokens, 256, tokenizer.special_id(fast_bpe.END))
    assert packed.waste == pytest.approx(0.005, abs=0.0005)
    rows, room = 1, 256  # in their own order, with a new row whenever one does not fit
    for size in (min(256, len(d) - at) for d in tokens for at in range(0, len(d), 256)):
        rows, room = (rows, room - size) if size <= room else (rows + 1, 256 - size)
    assert 1 - sum(map(len, tokens)) / (256 * rows) == pytest.approx(0.26, abs=0.005)
    text = next(t for number, t, _, _ in stretches(packed) if number == 5)
    assert texts[5].startswith(tokenizer.decode(text))


@pytest.mark.parametrize(
    ("position", "causal"),
    # With T5's bias, which has none for later positions, a GPT refuses causal=False.
    [(position, causal) for position in CHOICES["position"] for causal in (True, False) if causal or position != "t5"],
)
def test_a_model_sees_each_document_as_if_it_stood_alone(position, causal):
    generator = torch.Generator().manual_seed(0)
    documents = [torch.randint(99, (n,), generator=generator) for n in (3, 11, 1, 7, 30, 16, 5, 2, 9)]
    packed = pack(documents, 16, END)
    torch.manual_seed(0)
    model = GPT(GPTConfig(100, 16, 32, 2, 4, position=position, tie_embeddings=False)).double().eval()
    with torch.no_grad():
        mask = document_mask(packed.documents)
        logits = model(packed.tokens, mask, causal=causal, positions=packed.positions)
        # Hidden keys weigh exactly 0, so only the order of sums differs: of at most 128 terms (the hidden layer), each
        # rounded to 1.1e-16, through 2 layers of 4 products and on to logits of order 1; a hundredfold for safety.
        allowed = 128 * 1.1e-16 * 8 * 100
        alone = {}
        for number, tokens, _, _ in stretches(packed):
            if number != PADDING:
                alone[number, tuple(tokens.tolist())] = model(tokens[None], causal=causal)[0]
        assert len(alone) == 10  # nine documents, of which one falls into two rows
        total = 0.0
        for row in range(len(packed)):
            for number in set(packed.documents[row].tolist()) - {PADDING}:
                here = packed.documents[row] == number
                lone = alone[number, tuple(packed.tokens[row, here].tolist())]
                torch.testing.assert_close(logits[row, here], lone, atol=allowed, rtol=0)
                total += F.cross_entropy(lone, packed.targets[row, here], reduction="sum").item()
        loss = F.cross_entropy(
            logits.flatten(0, 1), packed.targets.flatten(), ignore_index=IGNORE_INDEX, reduction="sum"
        )
        assert loss.item() == pytest.approx(total, rel=1e-12)

        # Each of the two measures is needed: without it the logits are others by far more than rounding.
        unmasked = model(packed.tokens, causal=causal, positions=packed.positions)
        assert (unmasked - logits).abs().max() > 1e-3
        if position in ("learned", "sinusoidal"):  # the others know only distances, which no reset changes
            running = model(packed.tokens, mask, causal=causal)
            assert (running - logits).abs().max() > 1e-3


def test_the_mask_by_hand():
    mask = document_mask(torch.tensor([[4, 4, 7, PADDING]]))
    assert mask.shape == (1, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_rows_can_be_chosen():
    packed = pack([torch.arange(n) for n in (5, 4, 3, 2)], 5, END)
    assert len(packed) == 3
    assert torch.equal(packed[torch.tensor([2, 0])].tokens, packed.tokens[[2, 0]])
    assert packed[1:].documents.tolist() == packed.documents[1:].tolist()


@pytest.mark.parametrize(
    ("documents", "length", "words"),
    [
        ([], 8, "0 documents cannot be packed into rows of 8 tokens"),
        ([torch.arange(3)], 0, "1 documents cannot be packed into rows of 0 tokens; both numbers must be"),
        ([torch.arange(3), torch.arange(0)], 8, "document 1 is empty; leave it out"),
    ],
)
def test_what_cannot_be_packed(documents, length, words):
    with pytest.raises(ValueError, match=words):
        pack(documents, length, END)

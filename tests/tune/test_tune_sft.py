"""Prompts with replies, how likely a model finds them, and fine-tuning on the replies alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import END, gpt
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch.testing import assert_close

from course_lib.data.loading.loader import Loader
from course_lib.data.tokenizers.chat import CHATML
from course_lib.data.worlds.mirror import MirrorLanguage
from course_lib.train import TrainConfig, train
from course_lib.tune.completions import completion_examples, completion_logprobs
from course_lib.tune.sft import chat_examples, pack_examples, sft_loss

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=4)


class Fixed(torch.nn.Module):
    """A model whose logits are given, whatever it reads."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, ids):
        return self.logits


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TOKENS, st.lists(st.integers(0, 2), max_size=4)), min_size=1, max_size=4))
def test_completions_alone_are_learned(rows):
    prompts, completions = zip(*rows, strict=True)
    texts = completion_examples(prompts, completions, END, pad_id=END).all()
    for prompt, completion, row, wanted in zip(
        prompts, completions, texts.inputs.tolist(), texts.targets.tolist(), strict=True
    ):
        whole = [*prompt, *completion, END]
        assert row[: len(whole) - 1] == whole[:-1]
        assert set(row[len(whole) - 1 :]) <= {END}
        learned = {i: token for i, token in enumerate(wanted) if token != -100}
        assert learned == {i: whole[i + 1] for i in range(len(prompt) - 1, len(whole) - 1)}
    assert texts.completions() == [[*completion, END] for completion in completions]


def test_an_end_may_be_there_already_or_be_all_that_is_said():
    texts = completion_examples([[1], [1, 2]], [[0, 2], [END]]).all()
    assert texts.ids.tolist() == [[1, 0, 2], [1, 2, END]]
    assert texts.completions() == [[0, 2], [END]]
    assert completion_examples([[1]], [[]], END).all().completions() == [[END]]


def test_what_makes_no_pairs_is_refused():
    with pytest.raises(ValueError, match="2 prompts and 1 completions make no pairs"):
        completion_examples([[1], [2]], [[1]])
    with pytest.raises(ValueError, match="0 prompts"):
        completion_examples([], [])
    with pytest.raises(ValueError, match=r"prompt 1 is empty.*begin it with a mark"):
        completion_examples([[1], []], [[1], [1]])
    with pytest.raises(ValueError, match=r"completion 0 is empty.*name the token that ends one"):
        completion_examples([[1]], [[]])


def test_the_log_probability_of_a_reply():
    """Against the product of the probabilities of its tokens, one after the other, each read alone."""
    model = gpt().double()
    prompts, replies = [[0], [1, 2, 0], [2, 2]], [[1, 2, END], [0], [2, 1]]
    found = completion_logprobs(model, completion_examples(prompts, replies).all())
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        p = 1.0
        for i, token in enumerate(reply):
            p *= model(torch.tensor([[*prompt, *reply[:i]]]))[0, -1].softmax(0)[token].item()
        assert found[row].sum().item() == pytest.approx(math.log(p), rel=1e-12)
        assert (found[row] != 0).sum() == len(reply)


def test_prompts_are_not_learned():
    """Logits where a prompt is predicted, or padding, can be anything; their gradient is zero, to the bit."""
    texts = completion_examples([[0, 1, 2], [2]], [[1], [1, 0]], END).all()
    free = texts.targets == -100
    torch.manual_seed(0)
    model = Fixed(torch.randn(2, 4, 4, dtype=torch.float64))
    loss = sft_loss(model, texts)
    loss.mean.backward()
    assert (model.logits.grad[free] == 0).all()
    assert (model.logits.grad[~free] != 0).all()
    assert loss.n_targets == 5  # two replies of one and two tokens, and the two ends
    other = Fixed(torch.where(free[..., None], 100 * torch.randn(2, 4, 4, dtype=torch.float64), model.logits.detach()))
    assert sft_loss(other, texts).total == loss.total
    by_hand = torch.nn.functional.nll_loss(model.logits.log_softmax(2)[~free], texts.targets[~free])
    assert_close(loss.mean, by_hand, rtol=1e-12, atol=0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=7), st.integers(8, 12))
def test_packed_is_the_same_lesson(rows, length):
    """The same loss and gradient, in float64 to a few roundings, however the texts lie in the rows."""
    model = gpt(context=16).double()
    examples = completion_examples(*zip(*rows, strict=True), END)
    results = []
    for batch in (examples.all(), pack_examples(examples, length)[:]):
        model.zero_grad()
        loss = sft_loss(model, batch)
        loss.total.backward()
        results.append((loss.total.detach(), loss.n_targets, torch.cat([p.grad.flatten() for p in model.parameters()])))
    assert results[0][1] == results[1][1] == sum(len(reply) + 1 for _, reply in rows)
    assert_close(results[1][0], results[0][0], rtol=1e-12, atol=0)
    assert_close(results[1][2], results[0][2], rtol=1e-9, atol=1e-12)


def test_what_does_not_fit_into_a_row_is_refused():
    examples = completion_examples([[0, 1, 2], [0]], [[0, 1, 2], [1]], END)
    assert len(pack_examples(examples, 6)) == 2
    with pytest.raises(ValueError, match="text 0 has 7 tokens, too many for a row of 5"):
        pack_examples(examples, 5)


def words(*vocabulary):
    """A tokenizer of words, lines and ChatML's marks."""
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=vocabulary[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+"), "removed", invert=True)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return tokenizer


def test_of_a_conversation_what_the_assistant_says_is_learned():
    tokenizer = words("?", "\n", "user", "assistant", "hi", "hello", "more", "enough")
    said = [("user", "hi"), ("assistant", "hello"), ("user", "more"), ("assistant", "enough enough")]
    examples = chat_examples([[{"role": who, "content": what} for who, what in said]] * 2, CHATML, tokenizer)
    assert len(examples) == 2
    texts = examples.all()
    learned = [tokenizer.id_to_token(i) for i in texts.completions()[0]]
    assert learned == ["hello", "<|im_end|>", "enough", "enough", "<|im_end|>"]
    assert tokenizer.decode(texts.ids[0].tolist(), skip_special_tokens=True).count("hi") == 1
    with pytest.raises(ValueError, match="in dialogue 1 the assistant says nothing"):
        chat_examples([[{"role": who, "content": "hi"}] for who in ("assistant", "user")], CHATML, tokenizer)


def test_it_learns_the_replies_and_held_out_ones():
    """To write a string backwards; the control learns from replies to other prompts, and can only guess symbols.

    A fifth of all strings is held out. Who does not know the prompt cannot be less surprised, by three symbols and a
    certain end, than 3/4 ln 8 = 1.56 nats a token.
    """
    world = MirrorLanguage(n_symbols=8, half=3)
    prompts = torch.cartesian_prod(*[torch.arange(8)] * 3)
    held_out = prompts.sum(1) % 5 == 0
    test = completion_examples(prompts[held_out].tolist(), prompts[held_out].flip(1).tolist(), world.blank).all()
    surprise = {}
    for name in ("replies", "shuffled"):
        asked, answered = prompts[~held_out], prompts[~held_out].flip(1)
        if name == "shuffled":
            answered = answered[torch.randperm(len(answered), generator=torch.Generator().manual_seed(0))]
        model = gpt(vocab_size=world.vocab_size, d_model=32)
        examples = completion_examples(asked.tolist(), answered.tolist(), world.blank)
        train(model, Loader(examples, 64), sft_loss, TrainConfig(200, lr=1e-2, warmup_steps=20))
        with torch.no_grad():
            surprise[name] = sft_loss(model, test).mean.item()
    assert surprise["replies"] < 0.1
    assert surprise["shuffled"] > 3 / 4 * math.log(8)

"""What is generated: the tokens of transformers, alone or in a batch, and an end where one was asked for."""

import functools
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))
from parity import both_ways, gpt2, llama, made, seeds

from course_lib.infer.generation.generate import complete, generate
from course_lib.infer.generation.sampling import GREEDY, Sampling
from course_lib.models import GPT, VLM, GPTConfig, ImageEncoderConfig, VLMConfig
from course_lib.models.gpt import CHOICES

few = settings(max_examples=15, deadline=None)
# Prompts whose lengths differ; 16 positions leave room for six tokens more.
lengths = st.lists(st.integers(1, 10), min_size=1, max_size=4)


def in_double(theirs):
    """Both models in float64, where no two logits come so close that rounding could choose between them."""
    ours, _ = both_ways(theirs)
    return ours.double(), theirs.double()


def random_prompts(lengths, vocab):
    return [torch.randint(vocab, (n,)).tolist() for n in lengths]


@torch.no_grad()
def of_transformers(theirs, prompt, n, **options):
    ids = torch.tensor([prompt])
    found = theirs.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=n, **options)
    return found[0, len(prompt) :].tolist()


def check(theirs, lengths):
    """Greedy: batched as alone, and alone as theirs."""
    ours, theirs = in_double(theirs)
    theirs.generation_config.eos_token_id = theirs.generation_config.pad_token_id = None
    prompts = random_prompts(lengths, theirs.config.vocab_size)
    expected = [of_transformers(theirs, prompt, 6) for prompt in prompts]
    assert complete(ours, prompts, 6, GREEDY) == expected
    assert [complete(ours, [prompt], 6, GREEDY)[0] for prompt in prompts] == expected


@few
@given(gpt2, seeds, lengths)
def test_gpt2(config, seed, lengths):
    check(made(GPT2LMHeadModel, GPT2Config(**config), seed), lengths)


@few
@given(llama, seeds, lengths)
def test_llama(config, seed, lengths):
    check(made(LlamaForCausalLM, LlamaConfig(**config), seed), lengths)


def test_mixtral():
    config = MixtralConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2, vocab_size=19,
        intermediate_size=24, num_local_experts=4, sliding_window=None,
        experts_implementation="eager",  # grouped products have no float64
    )  # fmt: skip
    check(made(MixtralForCausalLM, config, 0), [3, 1, 7])


@functools.cache
def small(position="rope", context=16, seed=0, vocab=11):
    torch.manual_seed(seed)
    model = GPT(GPTConfig(vocab, context=context, d_model=12, n_layers=2, n_heads=3, position=position)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model.double()


def without_cache(model, prompt, n):
    text = list(prompt)
    for _ in range(n):
        with torch.no_grad():
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("position", CHOICES["position"])
def test_every_position_encoding_in_a_batch(position):
    model = small(position, context=20)
    prompts = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]
    assert complete(model, prompts, 12, GREEDY) == [without_cache(model, prompt, 12) for prompt in prompts]


def test_a_step_at_a_time_and_the_end_of_each_row():
    model = small()
    prompts = [[1, 2], [3], [4, 5, 6]]
    texts = complete(model, prompts, 8, GREEDY)
    stop = {texts[0][2], texts[1][5]}
    steps = list(generate(model, prompts, 8, GREEDY, stop_token_ids=stop))
    for row, text in enumerate(texts):
        end = next((i + 1 for i, token in enumerate(text) if token in stop), 8)
        found = [step[row] for step in steps]
        assert found == (text[:end] + [None] * 8)[: len(steps)]
        assert complete(model, prompts, 8, GREEDY, stop_token_ids=stop)[row] == [
            token for token in text[:end] if token not in stop
        ]
    assert all(any(token is not None for token in step) for step in steps)
    lazy = generate(model, prompts, 8, GREEDY)
    assert next(lazy) == [text[0] for text in texts]
    assert next(lazy) == [text[1] for text in texts]
    assert complete(model, prompts, 8, GREEDY, stop_token_ids=range(11)) == [[], [], []]


def test_a_text_may_fill_the_context_and_no_more():
    model = small("learned", context=6)
    prompts = [[1, 2, 3, 4, 5, 6], [7], [1, 2]]
    expected = [without_cache(model, prompt, n) for prompt, n in zip(prompts, (1, 6, 5), strict=True)]
    assert complete(model, prompts, 50, GREEDY) == expected
    assert [complete(model, [prompt], 50, GREEDY)[0] for prompt in prompts] == expected
    assert len(complete(small("rope", context=6), [[1, 2, 3]], 20, GREEDY)[0]) == 20


def test_the_generator_decides():
    model = small()
    prompts = [[1, 2], [3]]
    draw = lambda seed: complete(model, prompts, 20, Sampling(2.0), generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    state = torch.get_rng_state()
    draw(3)
    assert torch.equal(state, torch.get_rng_state())  # no other generator was asked


def test_draws_follow_the_model():
    """The share of each first token, in 2,000 rows of one prompt, within five standard deviations of a binomial."""
    model = small()
    n, sampling = 2000, Sampling(1.5, top_p=0.95)
    step = next(generate(model, [[1, 2, 3]] * n, 1, sampling, generator=torch.Generator().manual_seed(0)))
    from course_lib.infer.generation.sampling import probabilities

    with torch.no_grad():
        shares = probabilities(model(torch.tensor([[1, 2, 3]]))[0, -1], sampling)
    counts = torch.tensor(step).bincount(minlength=11)
    assert ((counts - n * shares).abs() <= 5 * (n * shares * (1 - shares)).sqrt()).all()


class Alternating:
    """Even and odd tokens in turn, an even one first; token 10 ends a text after an odd one."""

    def matcher(self):
        return AlternatingMatcher()


class AlternatingMatcher:
    def __init__(self):
        self.written = 0

    def allowed(self):
        odd = self.written % 2
        allowed = torch.arange(11) % 2 == odd
        allowed[10] = not odd
        return allowed

    def accept(self, token):
        assert self.allowed()[token]
        self.written += 1


class DeadEnd(AlternatingMatcher):
    def matcher(self):
        return DeadEnd()

    def allowed(self):
        return super().allowed() & (self.written == 0)


def alternating(odd):
    matcher = AlternatingMatcher()
    matcher.written = odd
    return matcher.allowed()


def test_a_grammar_is_kept_by_every_row():
    model = small()
    prompts = [[1, 2], [3], [4, 5, 6]]
    for sampling in (GREEDY, Sampling(3.0)):
        texts = complete(
            model,
            prompts,
            30,
            sampling,
            stop_token_ids=[10],
            grammar=Alternating(),
            generator=torch.Generator().manual_seed(0),
        )
        for text in texts:
            assert all(token % 2 == i % 2 and token != 10 for i, token in enumerate(text))
            assert len(text) == 30 or len(text) % 2 == 0
    greedy = complete(model, prompts, 30, GREEDY, stop_token_ids=[10], grammar=Alternating())
    for prompt, text in zip(prompts, greedy, strict=True):
        assert complete(model, [prompt], 30, GREEDY, stop_token_ids=[10], grammar=Alternating()) == [text]
        with torch.no_grad():  # each token is the likeliest of those allowed
            logits = model(torch.tensor([prompt + text[:-1]]))[0, len(prompt) - 1 :]
        for i, token in enumerate(text):
            allowed = alternating(i % 2)
            assert token == logits[i].masked_fill(~allowed, -torch.inf).argmax()
    with pytest.raises(ValueError, match="allows no token to follow in row 0"):
        complete(model, prompts, 2, grammar=DeadEnd())
    with pytest.raises(ValueError, match="speaks of 11 tokens, but the model has 7"):
        complete(small(vocab=7), [[1]], 2, grammar=Alternating())


@torch.no_grad()
def test_prompts_with_images():
    decoder = GPTConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=2, position="rope")
    torch.manual_seed(0)
    for image_token in (10, 0):
        model = VLM(VLMConfig(ImageEncoderConfig(image_size=16, d_model=4), decoder, image_token)).eval().double()
        images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
        prompts = [[1, image_token, 2, 3], [image_token], [4, 5]]
        found = complete(model, prompts, 5, GREEDY, images=images)
        for prompt, text, own in zip(prompts, found, (images[:1], images[1:], None), strict=True):
            for i, token in enumerate(text):
                if image_token in text[:i]:  # an image that nobody gave
                    break
                logits = model(torch.tensor([prompt + text[:i]]), own)
                assert logits[0, -1].argmax() == token
        with pytest.raises(ValueError, match="2 image tokens, but no image came"):
            complete(model, prompts, 5)
    with pytest.raises(ValueError, match="a GPT reads no images"):
        complete(small(), [[1]], 1, images=images)


@torch.no_grad()
def test_under_autocast_the_cache_follows():
    model = small().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert len(complete(model, [[1, 2], [3]], 5)[1]) == 5
    small.cache_clear()


@pytest.mark.parametrize(
    ("prompts", "n", "sentence"),
    [
        ([], 3, "pass a list of prompts"),
        ("abc", 3, "pass a list of prompts"),
        ([1, 2], 3, "for one prompt"),
        (torch.tensor([1, 2]), 3, "for one prompt"),
        ([[1], []], 3, "prompt 1 is empty"),
        ([[1] * 7], 3, "prompt 0 has 7 tokens, but the model's context is 6"),
        ([[1]], 0, "max_new_tokens=0 must be at least 1"),
    ],
)
def test_refused_before_the_first_step(prompts, n, sentence):
    with pytest.raises(ValueError, match=sentence):
        generate(small("learned", context=6), prompts, n)


def test_tokens_of_another_vocabulary():
    with pytest.raises(ValueError, match="but the vocabulary has 11"):
        complete(small(), [[11]], 2)

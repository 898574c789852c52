"""Speculative decoding writes what the target alone would: shown by going through all that chance can do."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.infer.generation import speculative
from course_lib.infer.generation.generate import complete
from course_lib.infer.generation.sampling import GREEDY, Sampling, probabilities
from course_lib.infer.generation.speculative import Round, Sampler, rejection_sample, speculate
from course_lib.models import GPT, GPTConfig
from course_lib.models.gpt import CHOICES


class Script(Sampler):
    """Sampler that fall as written, and then as they first can; what else could have happened is noted."""

    def __init__(self, path):
        self.path = list(path)
        self.place = 0
        self.probability = 1.0
        self.others = []

    def sample(self, shares):
        shares = (shares / shares.sum()).tolist()
        possible = [i for i, share in enumerate(shares) if share > 0]
        if self.place == len(self.path):
            self.others += [[*self.path, i] for i in possible[1:]]
            self.path.append(possible[0])
        choice = self.path[self.place]
        self.place += 1
        self.probability *= shares[choice]
        return choice

    def bernoulli(self, share):
        share = min(1.0, share)
        return bool(self.sample(torch.tensor([1 - share, share], dtype=torch.float64)))


def outcomes(run):
    """All that run(sampler) can give, each with its probability."""
    paths = [[]]
    while paths:
        sampler = Script(paths.pop())
        yield run(sampler), sampler.probability
        paths += sampler.others


def summed(pairs):
    found = {}
    for key, probability in pairs:
        found[key] = found.get(key, 0.0) + probability
    return found


def assert_same_distribution(found, expected):
    """Sums of products of a few float64 numbers up to 1."""
    for key in found.keys() | expected.keys():
        assert found.get(key, 0.0) == pytest.approx(expected.get(key, 0.0), abs=1e-12), key
    assert sum(found.values()) == pytest.approx(1)


def table(vocab, depth, seed, sparse):
    """A language over texts of up to `depth` tokens: what follows each. Some of it can be impossible."""
    generator = torch.Generator().manual_seed(seed)
    language = {}
    for n in range(depth + 1):
        for text in itertools.product(range(vocab), repeat=n):
            shares = torch.rand(vocab, generator=generator, dtype=torch.float64) + 1e-3
            gone = torch.rand(vocab, generator=generator) < sparse
            gone[int(torch.randint(vocab, (), generator=generator))] = False
            shares = shares.masked_fill(gone, 0)
            language[text] = shares / shares.sum()
    return language


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2), st.integers(0, 2**31), st.integers(0, 2**31), st.sampled_from([0.0, 0.4]))
def test_the_rule_gives_the_targets_distribution(vocab, draft_tokens, seed, other, sparse):
    """Draft by one language, check by another, and let the target write on where the round ended early."""
    target, draft = table(vocab, draft_tokens, seed, sparse), table(vocab, draft_tokens, other, sparse)

    def run(sampler):
        drafted, guessed = [], []
        for _ in range(draft_tokens):
            guessed.append(draft[tuple(drafted)])
            drafted.append(sampler.sample(guessed[-1]))
        wanted = torch.stack([target[tuple(drafted[:i])] for i in range(draft_tokens + 1)])
        text = rejection_sample(drafted, guessed, wanted, sampler)
        kept = len(text) - 1
        assert text[:kept] == drafted[:kept]
        while len(text) <= draft_tokens:
            text.append(sampler.sample(target[tuple(text)]))
        return tuple(text), kept

    found = list(outcomes(run))
    expected = {
        text: float(torch.stack([target[text[:i]][token] for i, token in enumerate(text)]).prod())
        for text in itertools.product(range(vocab), repeat=draft_tokens + 1)
    }
    assert_same_distribution(summed((text, p) for (text, _), p in found), expected)
    if (
        draft_tokens
    ):  # the first token stays as often as the two languages overlap (Leviathan et al. 2023, corollary 3.6)
        overlap = torch.minimum(target[()], draft[()]).sum()
        assert sum(p for (_, kept), p in found if kept) == pytest.approx(float(overlap))


def made(vocab, seed, context=24, position="learned", n_layers=1):
    torch.manual_seed(seed)
    config = GPTConfig(vocab, context=context, d_model=8, n_layers=n_layers, n_heads=2, position=position)
    model = GPT(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    return model.double()


@pytest.mark.parametrize(
    ("vocab", "n", "draft_tokens", "sampling"),
    [
        (2, 4, 3, Sampling()),
        (3, 3, 2, Sampling()),
        (3, 2, 4, Sampling(0.7)),
        (3, 3, 1, Sampling(2.0, top_k=2)),
        (4, 3, 2, Sampling(1.5, top_p=0.8)),
    ],
)
@torch.no_grad()
def test_whole_texts_of_two_models_have_the_targets_distribution(vocab, n, draft_tokens, sampling, monkeypatch):
    target, draft = made(vocab, 0), made(vocab, 1)

    def run(sampler):
        monkeypatch.setattr(speculative, "Sampler", lambda generator: sampler)
        rounds = list(speculate(target, draft, [0, 1], n, sampling, draft_tokens=draft_tokens))
        return tuple(token for tokens, _, _ in rounds for token in tokens)

    expected = {}
    for text in itertools.product(range(vocab), repeat=n):
        shares = probabilities(target(torch.tensor([[0, 1, *text]]))[0, 1:-1], sampling)
        expected[text] = float(shares.gather(1, torch.tensor(text)[:, None]).prod())
    found = list(outcomes(run))
    assert len(found) > sum(share > 0 for share in expected.values()) > 1  # there are several ways to a text
    assert_same_distribution(summed(found), expected)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.integers(1, 7),
    st.integers(1, 15),
    st.integers(1, 6),
    st.sampled_from(CHOICES["position"]),
    st.integers(1, 12),
    st.sets(st.integers(0, 8), max_size=2),
)
def test_greedy_is_the_targets_greedy(seed, other, draft_tokens, n, length, position, sight, stop):
    target, draft = made(9, seed, context=12, position=position), made(9, other, context=sight, n_layers=2)
    prompt = torch.randint(9, (length,)).tolist()
    rounds = list(speculate(target, draft, prompt, n, GREEDY, draft_tokens=draft_tokens, stop_token_ids=stop))
    found = [token for tokens, _, _ in rounds for token in tokens]
    (expected,) = complete(target, [prompt], n, GREEDY, stop_token_ids=stop)
    assert [token for token in found if token not in stop] == expected
    assert not stop.intersection(found[:-1])
    for tokens, drafted, accepted in rounds[:-1]:
        assert len(tokens) == accepted + 1 <= drafted + 1 <= draft_tokens + 1


def test_a_draft_like_the_target_is_accepted_whole():
    target = made(9, 0)
    for sampling in (GREEDY, Sampling(1.5)):
        rounds = list(
            speculate(target, target, [1, 2], 15, sampling, draft_tokens=4, generator=torch.Generator().manual_seed(0))
        )
        assert [len(tokens) for tokens, _, _ in rounds] == [5, 5, 5]
        assert [(drafted, accepted) for _, drafted, accepted in rounds] == [(4, 4)] * 3
    (text,) = complete(target, [[1, 2]], 15, GREEDY)
    assert list(speculate(target, target, [1, 2], 15, GREEDY, stop_token_ids=text[:1])) == [Round(text[:1], 4, 4)]


def test_rounding_leaves_nothing_to_draw_from():
    """A token rejected though the draft wanted it no more than the target, but for the last bit."""
    shares = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    more = torch.tensor([0.5 + 6e-8, 0.5])

    class Never(Sampler):
        def bernoulli(self, share):
            return False

    assert rejection_sample([0], [more], shares, Never(torch.Generator().manual_seed(0))) in ([0], [1])


def test_the_dice_are_fair():
    """Within five standard deviations of a binomial; and never what is impossible."""
    sampler = Sampler(torch.Generator().manual_seed(0))
    n, shares = 4000, torch.tensor([0.0, 0.1, 0.3, 0.6])
    counts = torch.tensor([sampler.sample(3 * shares) for _ in range(n)]).bincount(minlength=4)
    assert ((counts - n * shares).abs() <= 5 * (n * shares * (1 - shares)).sqrt()).all()
    for share in (0.0, 0.2, 0.9, 1.0):
        found = sum(sampler.bernoulli(share) for _ in range(n))
        assert abs(found - n * share) <= 5 * (n * share * (1 - share)) ** 0.5
    draw = lambda seed: list(speculate(made(9, 0), made(9, 1), [1], 10, generator=torch.Generator().manual_seed(seed)))  # noqa: E731
    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"draft": made(8, 0)}, "the draft has 8 tokens and the target 9; both need one vocabulary"),
        ({"draft_tokens": 0}, "draft_tokens=0 drafts nothing"),
        ({"prompt": []}, "prompt 0 is empty"),
        ({"prompt": [1] * 25}, "prompt 0 has 25 tokens, but the model's context is 24"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
    ],
)
def test_refused_before_the_first_round(options, sentence):
    given = {"target": made(9, 0), "draft": made(9, 1), "prompt": [1], "max_new_tokens": 3} | options
    with pytest.raises(ValueError, match=sentence):
        speculate(**given)

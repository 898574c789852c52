"""The loader: each epoch reads everything once, and any run can be cut anywhere and go on, with any number of ranks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from course_lib.data.loading.loader import Loader, Windows, epoch_order
from course_lib.data.loading.packing import pack


def share(n, batch_size, rank, world_size, **options):
    return Loader(torch.arange(n), batch_size, rank=rank, world_size=world_size, **options)


sizes = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))
divisors = st.sampled_from([1, 2, 3, 4, 6, 12])


@settings(deadline=None, max_examples=200)
@given(sizes=sizes, seed=st.integers(0, 2**32 - 1), epochs=st.integers(1, 4))
def test_every_epoch_reads_every_sample_once_and_then_it_ends(sizes, seed, epochs):
    n, batch_size = sizes
    loader = Loader(torch.arange(n), batch_size, seed, epochs=epochs)
    indices, batches = zip(*loader.read(), strict=True)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert indices[-1] == epochs * n
    read = torch.cat(batches).view(epochs, n)
    assert torch.equal(read.sort(dim=1).values, torch.arange(n).expand(epochs, n))
    assert list(loader.read(epochs * n)) == list(loader.read(epochs * n + 5)) == []


@settings(deadline=None, max_examples=200)
@given(n=st.integers(12, 50), before=divisors, after=divisors, killed=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_killed_run_goes_on_exactly_with_any_number_of_ranks(n, before, after, killed, seed):
    """The whole stream of samples, in the order of one rank, is the same as if nothing had happened."""

    def together(world_size, index):
        """Global batches, put together from what the ranks read."""
        ranks = [share(n, 12, r, world_size, seed=seed).read(index) for r in range(world_size)]
        for parts in zip(*ranks, strict=True):
            assert len({index for index, _ in parts}) == 1
            yield parts[0][0], torch.stack([batch for _, batch in parts], dim=1).flatten()

    untouched = [batch for _, batch in itertools.islice(together(1, 0), killed + 5)]
    first = list(itertools.islice(together(before, 0), killed))
    index = first[-1][0] if first else 0
    second = list(itertools.islice(together(after, index), 5))
    for one, (_, other) in zip(untouched, first + second, strict=True):
        assert torch.equal(one, other)
    assert index == 12 * killed


@settings(deadline=None)
@given(n=st.integers(6, 30), index=st.integers(0, 200), seed=st.integers(0, 99))
def test_a_batch_depends_on_seed_and_index_alone(n, index, seed):
    loader = share(n, 5, 0, 1, seed=seed)
    stream = torch.cat([batch for _, batch in itertools.islice(loader.read(), 60)])
    assert torch.equal(loader.ids(index), stream[index : index + 5])  # also where no batch began
    other = share(n, 6, 0, 1, seed=seed)
    assert torch.equal(other.ids(index), stream[index : index + 6])  # whatever the size of the batches


def test_the_order_is_random():
    """Over many seeds each sample is equally often at each place, and no two epochs or seeds are alike."""
    n, seeds = 6, 3000
    orders = np.array([epoch_order(n, seed, 0) for seed in range(seeds)])
    for place in range(n):
        counts = np.bincount(orders[:, place], minlength=n)
        assert abs(counts - seeds / n).max() < 5 * (seeds / n) ** 0.5  # 5 standard errors of a count
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in range(10) for epoch in range(10)}) == 100


def test_the_order_never_changes():
    """A run that was begun years ago must go on: these numbers may not depend on versions or machines."""
    assert epoch_order(10, 0, 0).tolist() == [3, 7, 6, 4, 1, 0, 2, 8, 5, 9]
    assert epoch_order(10, 7, 3).tolist() == [7, 4, 1, 6, 8, 3, 5, 2, 9, 0]


def test_ten_million_samples():
    loader = Loader(Numbers(10**7), 512, seed=1, rank=3, world_size=8)
    ids = loader.ids(10**7 - 256)
    assert len(ids) == 64
    assert epoch_order.cache_info().currsize <= 2


class Numbers:
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, which):
        return which


@given(n=st.integers(0, 60), length=st.integers(1, 59))
@example(n=0, length=1)
def test_windows_lie_end_to_end(n, length):
    tokens = torch.arange(n) * 7
    if length >= n:
        with pytest.raises(ValueError, match=f"windows of {length + 1} tokens do not fit into a text of {n} tokens"):
            Windows(tokens, length)
        return
    windows = Windows(tokens, length)
    rows = windows[torch.arange(len(windows))]
    assert rows.shape == (len(windows), length + 1)
    read = len(windows) * length
    assert n - 1 - length < read <= n - 1  # what is left over is shorter than a window
    assert torch.equal(rows[:, :-1].flatten(), tokens[:read])
    assert torch.equal(rows[:, 1:].flatten(), tokens[1 : read + 1])


def test_windows_and_packed_rows_can_be_read():
    tokens = torch.arange(101)
    batches = [batch for _, batch in Loader(Windows(tokens, 10), 4, epochs=1).read()]
    assert [batch.shape for batch in batches] == [(4, 11), (4, 11), (2, 11)]
    assert torch.equal(torch.cat(batches)[:, :-1].flatten().sort().values, tokens[:100])
    packed = pack([torch.arange(n) for n in range(1, 9)], 8, 99)
    _, batch = next(Loader(packed, 3, seed=5).read())
    assert batch.tokens.shape == (3, 8)


def test_the_last_batch_is_shared_as_far_as_it_goes():
    parts = [list(share(5, 4, r, 4, epochs=1).read()) for r in range(4)]
    assert [[len(batch) for _, batch in part] for part in parts] == [[1, 1], [1, 0], [1, 0], [1, 0]]
    assert {index for part in parts for index, _ in part} == {4, 5}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 11}, "a batch of 11 cannot be drawn from 10 samples; pass at most that many"),
        ({"batch_size": 0}, "a batch of 0 cannot be drawn"),
        ({"batch_size": 4, "rank": 2, "world_size": 2}, "rank 2 does not exist among 2 ranks; the first is 0"),
        ({"batch_size": 4, "rank": -1}, "rank -1 does not exist"),
        ({"batch_size": 4, "world_size": 3}, "a batch of 4 cannot be shared equally by 3 ranks"),
        ({"batch_size": 4, "seed": -1}, "seed=-1 must be in"),
        ({"batch_size": 4, "seed": 2**32}, "seed=4294967296 must be in"),
        ({"batch_size": 4, "epochs": 0}, "epochs=0 at least 1, or None"),
    ],
)
def test_what_cannot_be_loaded(options, words):
    with pytest.raises(ValueError, match=words):
        Loader(torch.arange(10), **options)


def test_other_refusals():
    with pytest.raises(ValueError, match="a batch of 1 cannot be drawn from 0 samples"):
        Loader(torch.arange(0), 1)
    with pytest.raises(ValueError, match="samples_read=-1 is negative"):
        Loader(torch.arange(10), 2).ids(-1)
    with pytest.raises(ValueError, match="windows of 1 tokens do not fit"):
        Windows(torch.arange(10), 0)

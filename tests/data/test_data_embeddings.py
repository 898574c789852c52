"""GloVe and the WEAT lists: known neighbours, values looked up in the file, and words that are not there."""

import collections
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from course_lib.data.corpora import embeddings
from course_lib.data.corpora.embeddings import WEAT_TESTS, Embeddings, weat_words
from course_lib.data.packages.fetching import fetch
from course_lib.errors import DataError
from course_lib.measure.bias import weat_effect_size

TINY = Embeddings(("east", "north", "northeast", "west"), torch.tensor([[2.0, 0], [0, 0.5], [3, 3], [-1, 0]]))


@pytest.fixture(scope="module")
def glove():
    return embeddings.glove()


def test_the_words_are_those_of_the_file(glove):
    file = parquet.ParquetFile(fetch("glove-6b-50d") / "glove_6B_index.parquet")
    words = [word for batch in file.iter_batches() for word in batch.column(0).to_pylist()]
    assert list(glove.words) == words
    assert len(set(words)) == len(words) == 400_000
    assert words[:5] == ["the", ",", ".", "of", "to"]
    assert glove.vectors.shape == (400_000, 50)
    assert glove.vectors.dtype == torch.float32
    assert glove["the"][:3].tolist() == pytest.approx([0.418, 0.24968, -0.41242])


def test_neighbours_and_an_analogy_that_are_known(glove):
    near = dict(glove.nearest("king", 10))
    assert {"queen", "prince"} <= set(near)
    assert near["queen"] == pytest.approx(glove.cosine("king", "queen"), abs=1e-6)
    assert glove.cosine("king", "queen") == pytest.approx(glove.cosine("queen", "king"), abs=1e-6)
    assert glove.cosine("king", "queen") > 0.75 > 0.4 > glove.cosine("king", "tomato")
    words = ("king", "man", "woman")
    queen = glove["king"] - glove["man"] + glove["woman"]
    assert glove.nearest(queen, 1, leave_out=words)[0][0] == "queen"
    assert glove.nearest(queen, 1)[0][0] == "king"  # why the words of an analogy are left out


def test_cosines_are_those_of_numpy(glove):
    rows = np.random.default_rng(0).integers(400_000, size=(50, 2))
    vectors = glove.vectors.double().numpy()
    for a, b in rows:
        expected = vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b])
        # 50 products of float32 numbers, each rounded to 2^-24 of at most 1 in all.
        assert glove.cosine(glove.words[a], glove.words[b]) == pytest.approx(expected, abs=60 * 2**-24)


@settings(deadline=None)
@given(st.lists(st.sampled_from(TINY.words), max_size=3, unique=True), st.integers(1, 6))
def test_nearest_leaves_out_what_it_is_told(out, n):
    vector = torch.tensor([1.0, 0.1])
    cosine = {"east": 0.995, "northeast": 0.774, "north": 0.0995, "west": -0.995}
    found = TINY.nearest(vector, n, leave_out=out)
    assert [word for word, _ in found] == [word for word in cosine if word not in out][:n]
    assert all(value == pytest.approx(cosine[word], abs=1e-3) for word, value in found)


def test_a_word_is_not_near_to_itself():
    assert [word for word, _ in TINY.nearest("east")] == ["northeast", "north", "west"]
    assert TINY.nearest("east", leave_out=["northeast", "west"]) == [("north", 0.0)]


def test_words_without_a_vector(glove):
    assert "king" in glove
    assert "King" not in glove
    with pytest.raises(ValueError, match="no vector for the word 'colourr'; spelled like it are: colour, "):
        glove["colourr"]
    with pytest.raises(ValueError, match="no vector for the word 'Adam'; spelled like it are: adam, "):
        glove.lookup(["king", "Adam"])
    with pytest.raises(ValueError, match=r"no vector for the word ''$"):
        glove.nearest("")
    with pytest.raises(ValueError, match="no vector for the word 'qzxqzx'"):
        glove.nearest("king", leave_out=["qzxqzx"])
    with pytest.raises(ValueError, match="no words to look up"):
        glove.lookup([])
    assert torch.equal(glove.lookup(["queen", "king"]), torch.stack([glove["queen"], glove["king"]]))


def test_pyarrow_is_needed_once(glove, monkeypatch, tmp_path):
    folder = fetch("glove-6b-50d")
    monkeypatch.setattr(embeddings, "fetch", lambda name: folder)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))  # where nothing is prepared
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(DataError, match="run `python -m pip install pyarrow`"):
            embeddings.glove()
    assert embeddings.glove().words == glove.words
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert embeddings.glove().words == glove.words


def test_weat_lists(glove):
    lists = weat_words()
    assert len(lists) == 31
    assert (len(lists["flowers"]), len(lists["insects"]), len(lists["old_people_names"])) == (25, 25, 8)
    assert lists["flowers"][:3] == ("aster", "clover", "hyacinth")
    assert {word for words in lists.values() for word in words if word not in glove} == {"gladiola"}
    used = collections.Counter(name for test in WEAT_TESTS for name in test)
    assert set(used) == set(lists)
    for targets in WEAT_TESTS:
        assert len(lists[targets[0]]) == len(lists[targets[1]])


def test_glove_shows_the_published_associations(glove):
    """The sign and rough size of Caliskan et al. 2017, who used vectors of 300 numbers from 840 billion words.

    For flowers and insects a replication with those vectors has 1.504; these smaller vectors have 1.09.
    """
    lists = weat_words()
    effects = []
    for names in WEAT_TESTS:
        effects.append(
            weat_effect_size(*(glove.lookup(word for word in lists[name] if word in glove) for name in names))
        )
    assert effects[0] == pytest.approx(1.09, abs=0.01)
    assert min(effects) > 0.5
    assert max(effects) < 2

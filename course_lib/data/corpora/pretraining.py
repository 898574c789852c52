"""A tokenized text, ready to train on: read from one prepared file, without the package that it came from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from course_lib.data.corpora.wikipedia import wikipedia_leads
from course_lib.data.loading.split import split_by_hash
from course_lib.data.packages.array_cache import array_file, cached_arrays
from course_lib.data.packages.registry import entry
from course_lib.data.tokenizers.bpe import BPE
from course_lib.data.tokenizers.fast_bpe import END, FastBPE, train_fast_bpe
from course_lib.data.tokenizers.pretokenization import PATTERN

_RECIPE = 1  # to be raised whenever the same sources give other arrays


@dataclass(frozen=True)
class Corpus:
    """The openings of Wikipedia articles as tokens, each with the end token, in three parts that share no article.

    Choose settings on `validation`; report results on `test`.
    """

    tokenizer: FastBPE
    train: Int[Tensor, " _"]
    validation: Int[Tensor, " _"]
    test: Int[Tensor, " _"]
    n_bytes: Int[Tensor, " vocab"]  # how many bytes of text each token stands for

    def bits_per_byte(self, nats: float, targets: Int[Tensor, "*shape"]) -> float:
        """Compute the loss in bits per byte of text, which can be compared between tokenizers.

        Args:
            nats: The sum of the losses on all these tokens, in nats.
            targets: The tokens that were predicted.
        """
        return nats / math.log(2) / self.n_bytes[targets].sum().item()


def pretraining_corpus(vocab_size: int = 4096, languages: Sequence[str] = ("en",)) -> Corpus:
    """Load the openings of Wikipedia articles in these languages, tokenized by a BPE learnt on the training part.

    A tenth of the articles is for validation and a tenth for testing. The title decides, so an article that exists in
    several languages under one title is in one part only.

    Raises:
        DataError: If the text was not prepared before and cannot be fetched.
        ValueError: If there is no Wikipedia in that language.
    """
    arrays = cached_arrays("corpus", _sources(vocab_size, languages), lambda: _build(vocab_size, languages))
    tokenizer = FastBPE(BPE(tuple(map(tuple, arrays["merges"].tolist())), (END,)))
    parts = {name: torch.from_numpy(arrays[name].astype(np.int64)) for name in ("train", "validation", "test")}
    n_bytes = torch.tensor([len(token) for token in tokenizer.bpe.tokens])
    n_bytes[tokenizer.special_id(END)] = 0
    return Corpus(tokenizer, n_bytes=n_bytes, **parts)


def pretraining_corpus_file(vocab_size: int = 4096, languages: Sequence[str] = ("en",)) -> Path:
    """Return the one cached file that `pretraining_corpus` reads, to be copied into the cache of another machine."""
    return array_file("corpus", _sources(vocab_size, languages))


def _sources(vocab_size: int, languages: Sequence[str]) -> list[object]:
    return [entry("wikipedia-leads").sha256, vocab_size, tuple(languages), PATTERN, _RECIPE]


def _build(vocab_size: int, languages: Sequence[str]) -> dict[str, np.ndarray]:
    articles = [article for language in languages for article in wikipedia_leads(language)]
    learnt, held_out = split_by_hash(articles, by=lambda article: article.title, test=0.2)
    validation, test = split_by_hash(held_out, by=lambda article: f"test {article.title}", test=0.5)
    tokenizer = train_fast_bpe((article.extract for article in learnt), vocab_size)
    end = torch.tensor([tokenizer.special_id(END)])
    arrays = {"merges": np.array(tokenizer.bpe.merges, dtype=np.int32)}
    for name, part in {"train": learnt, "validation": validation, "test": test}.items():
        ordered = sorted(part, key=lambda article: hashlib.sha256(article.title.encode()).digest())  # topics mixed
        ids = torch.cat([torch.cat((tokenizer.encode(article.extract), end)) for article in ordered])
        arrays[name] = ids.numpy().astype(np.uint16 if vocab_size <= 1 << 16 else np.int32)
    return arrays

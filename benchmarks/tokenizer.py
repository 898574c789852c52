# .venv/bin/python benchmarks/tokenizer.py            (--help for sizes; --json FILE keeps every single time)
"""BPE on the Wikipedia leads: training and encoding, ours against rustbpe, tiktoken and tokenizers, all in one run.

Equal work is checked before anything is timed: the same merges, and the same ids for every text. Only the trainer of
`tokenizers` orders pairs of equal frequency in another way; how many of its tokens are the same is printed.
"""

from __future__ import annotations

import rustbpe
import tiktoken
from side_by_side import begin, parser, record, side_by_side, table, write
from tokenizers import pre_tokenizers, trainers

from course_lib.data.corpora.wikipedia import wikipedia_leads
from course_lib.data.tokenizers import bpe, fast_bpe
from course_lib.data.tokenizers.pretokenization import PATTERN


def main() -> None:
    """Compare training and encoding, and print a table for each."""
    options = parser(__doc__)
    options.add_argument("--vocab-size", type=int, default=4096)
    args = options.parse_args()
    if args.tiny:
        args.vocab_size = 400

    texts = [article.extract for article in wikipedia_leads()][: 60 if args.tiny else None]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    here = begin("rustbpe", "tiktoken", "tokenizers")
    print(f"{len(texts)} texts, {megabytes:.2f} MB, vocabulary {args.vocab_size}, {args.rounds} rounds\n")

    learnt, training = compare_training(texts, args.vocab_size, args.rounds)
    print(table("Training", training, "tokenizers", megabytes, "MB"), "\n")
    encoding = compare_encoding(texts, learnt, args.rounds)
    print(table("Encoding, one text after the other", encoding, "tokenizers", megabytes, "MB"), "\n")
    in_one = compare_batches(texts, learnt, args.rounds)
    print(table("Encoding, all texts in one call, with threads", in_one, "tokenizers", megabytes, "MB"))

    about = f"{megabytes:.1f} MB, vocabulary of {args.vocab_size}"
    runs = {
        f"training, {about}": training,
        f"encoding, {about}, one text after the other": encoding,
        f"encoding, {about}, all in one call, with threads": in_one,
    }
    records = {name: record(timings, "tokenizers", megabytes, "MB") for name, timings in runs.items()}
    write(args, here, records)


def compare_training(texts, size, rounds):
    """Time the trainers, after checking that they learn the same merges; our tokenizer, and the timings."""

    def train_rustbpe():
        engine = rustbpe.Tokenizer()
        engine.train_from_iterator(texts, size, pattern=PATTERN)
        return engine

    def train_tokenizers():
        theirs = fast_bpe.to_hf(bpe.BPE(()))  # the same cuts and the same bytes, without merges
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        theirs.train_from_iterator(texts, trainer)
        return theirs

    ours = fast_bpe.train_fast_bpe(texts, size, special=())
    assert bpe.train_bpe(texts, size) == ours.bpe
    assert [bytes(token) for token, _ in train_rustbpe().get_mergeable_ranks()] == ours.bpe.tokens
    common = train_tokenizers().get_vocab().keys() & fast_bpe.to_hf(ours.bpe).get_vocab().keys()
    print(f"Merges are the same; the trainer of tokenizers shares {len(common)} of {ours.vocab_size} tokens.")
    contestants = {
        "tokenizers": train_tokenizers,
        "rustbpe": train_rustbpe,
        "course_lib.data.tokenizers.fast_bpe": lambda: fast_bpe.train_fast_bpe(texts, size, special=()),
        "course_lib.data.tokenizers.bpe": lambda: bpe.train_bpe(texts, size),
    }
    return ours, side_by_side(contestants, rounds)


def engines(ours):
    """Our tokenizer's merges in tiktoken and in tokenizers."""
    ranks = {token: i for i, token in enumerate(ours.bpe.tokens)}
    return (
        tiktoken.Encoding("peer", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}),
        fast_bpe.to_hf(ours.bpe),
    )


def compare_encoding(texts, ours, rounds):
    """Time encoding text by text, after checking that all give the same ids."""
    tik, theirs = engines(ours)
    for text in texts:
        ids = theirs.encode(text).ids
        assert ids == tik.encode_ordinary(text) == ours.encode(text).tolist() == ours.bpe.encode(text)
    contestants = {
        "tokenizers": lambda: [theirs.encode(text).ids for text in texts],
        "tiktoken": lambda: [tik.encode_ordinary(text) for text in texts],
        "course_lib.data.tokenizers.fast_bpe": lambda: [ours.encode(text) for text in texts],
        "course_lib.data.tokenizers.bpe": lambda: [ours.bpe.encode(text) for text in texts],
    }
    return side_by_side(contestants, rounds)


def compare_batches(texts, ours, rounds):
    """Time encoding all texts in one call, after checking that both give the same ids."""
    tik, theirs = engines(ours)
    contestants = {
        "tokenizers": lambda: [encoding.ids for encoding in theirs.encode_batch_fast(texts)],
        "tiktoken": lambda: tik.encode_ordinary_batch(texts),
    }
    same = [call() for call in contestants.values()]
    assert same[0] == same[1]
    return side_by_side(contestants, rounds)


if __name__ == "__main__":
    main()

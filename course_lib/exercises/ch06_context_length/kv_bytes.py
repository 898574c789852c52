"""The memory of a KV cache, with shared key/value heads and a sliding window."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    kept = tokens if window is None else min(tokens, window)
    return 2 * n_layers * n_kv_heads * head_dim * kept * number_bytes


def cases(rng):
    def whole(low, high):
        return int(torch.randint(low, high, (), generator=rng))

    def model():
        return whole(8, 90), whole(3, 40), whole(4, 33) * 8

    return [
        Case("by hand: 2 layers, 1 head of width 4, 3 tokens, 2 bytes a number", (2, 1, 4, 3, 2), expected=96),
        Case("another model", (*model(), whole(500, 9000), 2)),
        Case("numbers of 4 bytes", (*model(), whole(500, 9000), 4)),
        Case("numbers of 1 byte", (*model(), whole(500, 9000), 1)),
        Case("a window that is shorter than the text", (*model(), whole(5000, 9000), 2, whole(100, 4000))),
        Case("a window that is longer than the text", (*model(), whole(100, 900), 2, whole(1000, 4000))),
    ]


@alternative
def one_token_first(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    one_token = n_layers * (n_kv_heads * head_dim + n_kv_heads * head_dim) * number_bytes
    return one_token * (tokens if window is None or window > tokens else window)


@alternative
def layer_by_layer(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    held = min(tokens, window or tokens)
    return sum(2 * held * n_kv_heads * head_dim * number_bytes for _ in range(n_layers))


@mistake("This counts the keys or the values, but both are kept: twice as many numbers.")
def keys_alone(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window) // 2


LARGER_UNIT = "This is the size in a larger unit, such as KiB, MiB or GB. Return the bytes themselves, a whole number."


def in_units_of(unit):
    """A known mistake: the size in units of so many bytes."""

    @mistake(LARGER_UNIT)
    def larger_unit(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
        return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window) / unit

    larger_unit.solution.__name__ = f"in_units_of_{unit}_bytes"
    return larger_unit


in_kib, in_mib, in_gib, in_kb, in_mb, in_gb = map(in_units_of, (2**10, 2**20, 2**30, 10**3, 10**6, 10**9))


@mistake(LARGER_UNIT)
def whole_mib(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window) // 2**20


@mistake("This is the cache of one layer. Every layer keeps its own keys and values.")
def one_layer(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(1, n_kv_heads, head_dim, tokens, number_bytes, window)


@mistake("This is the cache of one head. Every key/value head keeps its own.")
def one_head(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, 1, head_dim, tokens, number_bytes, window)


@mistake("This is how many numbers are kept. Multiply by `number_bytes`.")
def numbers_not_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, 1, window)


@mistake("These are bits. A byte has 8 of them, and `number_bytes` is in bytes already.")
def bits(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return 8 * kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window)


@mistake("The window is not looked at. With one, tokens further back are thrown away: at most `window` are kept.")
def no_window(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes)


@mistake("With a window longer than the text, this keeps more tokens than there are. Take the smaller of the two.")
def whole_window(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, window or tokens, number_bytes)


@mistake(
    "With a window, this counts the tokens that are thrown away. Kept are the last `window` tokens, or all, if the "
    "text is shorter."
)
def tokens_beyond_the_window(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    kept = tokens if window is None else max(0, tokens - window)
    return 2 * n_layers * n_kv_heads * head_dim * kept * number_bytes


@mistake("This takes the larger of `tokens` and `window`. Of the tokens at most `window` are kept: take the smaller.")
def larger_of_the_two(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, max(tokens, window or 0), number_bytes)


@mistake("The window is multiplied in. It says how many tokens are kept, so it takes the place of `tokens`.")
def times_the_window(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens * (window or 1), number_bytes)


@mistake(
    "`tokens` is divided by `window`, as if each window kept one token. A window keeps its last `window` tokens, each "
    "with its own key and value."
)
def number_of_windows(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens // (window or 1), number_bytes)


@mistake("With a window, this keeps one token too many. A window of 3 is the token itself and the two before it.")
def window_and_one(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window and window + 1)


@mistake(
    "Three vectors are kept for each token here. The query of a token is used once, when it is written; only its key "
    "and its value are needed again."
)
def queries_too(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window) * 3 // 2


@mistake(
    "This grows with the square of the tokens, as the scores of attention do. The cache holds keys and values: one of "
    "each for a token."
)
def squared(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    kept = tokens if window is None else min(tokens, window)
    return kv_bytes(n_layers, n_kv_heads, head_dim, kept**2, number_bytes)


@mistake("Layers and heads are added here. *Each* layer has all of these heads: multiply.")
def layers_and_heads_added(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(1, n_layers + n_kv_heads, head_dim, tokens, number_bytes, window)


@mistake("`head_dim` is the width of one head already. It is not divided among the heads: multiply by both.")
def width_of_all_heads(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, 1, head_dim, tokens, number_bytes, window) // n_kv_heads


@mistake("The number of tokens is missing. Every token that is kept has a key and a value of its own.")
def of_one_token(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, 1, number_bytes)


@mistake("Without a window, the number of tokens is missing: `None` means that all of them are kept.")
def one_token_without_window(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, 1 if window is None else tokens, number_bytes, window)


@mistake("This divides by `number_bytes`. Each number takes that many bytes: multiply.")
def divided_by_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, 1, window) // number_bytes


@mistake("Every number takes 2 bytes here. How many it takes, `number_bytes` says.")
def always_two_bytes(n_layers, n_kv_heads, head_dim, tokens, number_bytes, window=None):
    return kv_bytes(n_layers, n_kv_heads, head_dim, tokens, 2, window)


EXERCISE = Exercise(
    id="kv_bytes",
    title="The memory of a cache",
    points=2,
    minutes=8,
    difficulty=1,
    kind="code",
    hints=(
        "How many numbers does one key have? How many keys and values does one layer keep for one token?",
        "Multiply: a key and a value, for each layer, for each of its heads, for each token that is kept. How many are "
        "kept, if a window is longer than the text? And if it is `None`?",
    ),
    reference=kv_bytes,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 6, What a cache costs",
)

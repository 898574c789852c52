"""What writing costs: how many tokens pass through a model to write `new` tokens after a prompt."""

import torch

from course_lib.exercises.spec import Case, Exercise, alternative, alternatives_in, mistake, mistakes_in


def tokens_computed(how, prompt, new):
    if how == "decoder, cached":
        return prompt + new - 1  # the last token is written, and nobody has to read it
    if how == "decoder":
        return sum(prompt + k for k in range(new))
    if how == "encoder":
        return new * (prompt + new)
    return prompt + new  # an encoder reads the prompt; a cached decoder reads the start and all but the last token


def cases(rng):
    prompt, new, alone = (int(torch.randint(11, 60, (), generator=rng)) for _ in range(3))
    hows = ("decoder", "decoder, cached", "encoder", "encoder-decoder")
    return [
        *(Case(f"{how}: 4 tokens after a prompt of 10", (how, 10, 4)) for how in hows),
        *(Case(f"{how}: {new} tokens after a prompt of {prompt}", (how, prompt, new)) for how in hows),
        Case(f"decoder: one token after a prompt of {alone}", ("decoder", alone, 1)),
        Case(f"decoder, cached: one token after a prompt of {alone}", ("decoder, cached", alone, 1)),
    ]


@alternative
def in_closed_form(how, prompt, new):
    return {
        "decoder": new * prompt + new * (new - 1) // 2,
        "decoder, cached": prompt + new - 1,
        "encoder": new * prompt + new * new,
        "encoder-decoder": prompt + new,
    }[how]


@alternative
def pass_by_pass(how, prompt, new):
    total = 0
    if how == "encoder-decoder":
        total += prompt
    for written in range(new):
        if how == "decoder":
            total += prompt + written
        elif how == "decoder, cached":
            total += prompt if written == 0 else 1
        elif how == "encoder":
            total += prompt + new
        else:
            total += 1
    return total


@mistake("This counts passes. A pass over 100 tokens costs a hundred times one over a single token.")
def counts_passes(how, prompt, new):
    return new


@mistake(
    "Every pass is one token too long: it reads what stands before the token that it writes, and not that token. "
    "So nobody ever reads the last one."
)
def last_token_read_by_every_decoder(how, prompt, new):
    if how == "decoder, cached":
        return prompt + new
    if how == "decoder":
        return sum(prompt + k + 1 for k in range(new))
    return tokens_computed(how, prompt, new)


@mistake("One token too many where there is a cache: nobody has to read the last one that is written.")
def last_token_read_with_a_cache(how, prompt, new):
    if how == "decoder, cached":
        return prompt + new
    if how == "encoder-decoder":
        return prompt + new + 1
    return tokens_computed(how, prompt, new)


@mistake(
    "Every pass of a decoder is one token too long: it reads what stands before the token that it writes, and not that "
    "token itself. So nobody ever reads the last one."
)
def last_token_read_everywhere(how, prompt, new):
    if how == "encoder":
        return tokens_computed(how, prompt, new)
    return tokens_computed(how, prompt, new) + (new if how == "decoder" else 1)


@mistake(
    'All three decoders get the number of the plain one. `"decoder" in how` is true of each of them: compare with '
    "`==`. With a cache a token is read once."
)
def every_decoder_is_plain(how, prompt, new):
    return tokens_computed("decoder" if "decoder" in how else how, prompt, new)


@mistake("With a cache the prompt still has to be read, once.")
def cached_prompt_and_last_token_are_free(how, prompt, new):
    return new - 1 if how == "decoder, cached" else tokens_computed(how, prompt, new)


@mistake("The encoder of an encoder-decoder is missing: it reads the prompt, once.")
def source_not_read(how, prompt, new):
    return new if how == "encoder-decoder" else tokens_computed(how, prompt, new)


@mistake("The places to be written are missing: an encoder's pass reads the prompt and `new` places, blank or filled.")
def encoder_without_blanks(how, prompt, new):
    return new * prompt if how == "encoder" else tokens_computed(how, prompt, new)


@mistake("With a cache the prompt still has to be read, once.")
def cached_prompt_is_free(how, prompt, new):
    return new if how == "decoder, cached" else tokens_computed(how, prompt, new)


@mistake("A decoder has no blanks in front of it: a pass reads the prompt and what has been written by then.")
def decoder_reads_blanks(how, prompt, new):
    return new * (prompt + new) if how == "decoder" else tokens_computed(how, prompt, new)


GROWING_ENCODER = (
    "The encoder's input does not grow: the places still to be written are in it as blanks from the start, so every "
    "pass reads prompt + new tokens."
)


@mistake(GROWING_ENCODER)
def encoder_grows_with_the_blank_it_fills(how, prompt, new):
    return sum(prompt + k + 1 for k in range(new)) if how == "encoder" else tokens_computed(how, prompt, new)


@mistake(
    "Each pass of the encoder has a single blank here. All `new` places are in its input from the start, blank or "
    "filled."
)
def encoder_with_one_blank(how, prompt, new):
    return new * (prompt + 1) if how == "encoder" else tokens_computed(how, prompt, new)


@mistake(GROWING_ENCODER)
def input_of_the_encoder_grows(how, prompt, new):
    return sum(prompt + k for k in range(new)) if how == "encoder" else tokens_computed(how, prompt, new)


@mistake(
    "Each pass of the encoder is one token too short. Nothing is left out of it: the place that is written next is in "
    "its input as well, as a blank."
)
def encoder_without_the_last_place(how, prompt, new):
    return new * (prompt + new - 1) if how == "encoder" else tokens_computed(how, prompt, new)


@mistake(
    "Every pass of the plain decoder is one token too long: it reads what stands before the token that it writes, and "
    "not that token. The first pass reads the prompt alone."
)
def last_token_read_by_the_plain_decoder(how, prompt, new):
    return tokens_computed(how, prompt, new) + (new if how == "decoder" else 0)


@mistake(
    "In the encoder-decoder the prompt is read twice here. The encoder alone reads it; the decoder reads the start "
    "token and what it writes."
)
def prompt_read_by_both(how, prompt, new):
    return 2 * prompt + new - 1 if how == "encoder-decoder" else tokens_computed(how, prompt, new)


@mistake("An encoder keeps nothing: each of its `new` passes reads everything again.")
def encoder_reads_once(how, prompt, new):
    return prompt + new if how == "encoder" else tokens_computed(how, prompt, new)


@mistake("The encoder of an encoder-decoder reads the source once, and what it found is kept.")
def source_read_at_every_step(how, prompt, new):
    return new * prompt + new if how == "encoder-decoder" else tokens_computed(how, prompt, new)


@mistake(
    "The decoder of an encoder-decoder needs something to read before it writes its first token, a start token, and "
    "that one counts."
)
def start_token_forgotten(how, prompt, new):
    return prompt + new - 1 if how == "encoder-decoder" else tokens_computed(how, prompt, new)


@mistake("The plain decoder lacks its first pass, which reads the prompt alone: `range(new)` begins at 0.")
def first_pass_left_out(how, prompt, new):
    return tokens_computed(how, prompt, new) - (prompt if how == "decoder" else 0)


@mistake("The plain decoder makes one pass too many: after the last token is written, nothing is read any more.")
def one_pass_too_many(how, prompt, new):
    return tokens_computed(how, prompt, new) + (prompt + new if how == "decoder" else 0)


@mistake(
    "Each pass of the plain decoder reads the prompt alone here. It keeps nothing, so it also reads what has been "
    "written so far."
)
def written_tokens_not_read(how, prompt, new):
    return prompt * new if how == "decoder" else tokens_computed(how, prompt, new)


@mistake("Every pass of the plain decoder is as long as the last one here. The first reads the prompt alone.")
def every_pass_as_long_as_the_last(how, prompt, new):
    return new * (prompt + new - 1) if how == "decoder" else tokens_computed(how, prompt, new)


@mistake("The plain decoder stops after its first pass. Is a `return` inside the loop? Move it to the left.")
def first_pass_alone(how, prompt, new):
    return prompt if how == "decoder" else tokens_computed(how, prompt, new)


@mistake("One token too many in the cached decoder: nobody has to read the last one that is written.")
def last_token_read_by_the_cached_decoder(how, prompt, new):
    return tokens_computed(how, prompt, new) + (how == "decoder, cached")


@mistake(
    "One token too many in the encoder-decoder: the start token counts, and the last one that is written does not, "
    "since nobody has to read it."
)
def last_token_read_by_the_encoder_decoder(how, prompt, new):
    return tokens_computed(how, prompt, new) + (how == "encoder-decoder")


@mistake(
    "The decoder of the encoder-decoder reads everything again in each pass here. It is cached: each pass reads one "
    "token, the newest."
)
def decoder_of_both_not_cached(how, prompt, new):
    if how == "encoder-decoder":
        return prompt + sum(k + 1 for k in range(new))
    return tokens_computed(how, prompt, new)


@mistake("An encoder-decoder gets the number of an encoder. Its encoder reads the prompt once, and no blanks.")
def encoder_decoder_as_an_encoder(how, prompt, new):
    return tokens_computed("encoder" if how == "encoder-decoder" else how, prompt, new)


@mistake("The number is right, and a float: `/` always makes one. Return an integer: `//` keeps it whole.")
def a_float(how, prompt, new):
    found = tokens_computed(how, prompt, new)
    return found * 1.0 if how == "decoder" else found


EXERCISE = Exercise(
    id="tokens_computed",
    title="What writing costs",
    points=2,
    minutes=10,
    difficulty=2,
    kind="derive",
    hints=(
        "Write down what is read before the first new token, before the second, before the last. Nothing is read "
        "after the last.",
        "When k tokens have been written, a plain decoder reads prompt + k; k begins at 0, and the last pass has new - "
        "1. With a cache each token but the last is read once. An encoder makes `new` passes that are all equally "
        "long. With an encoder-decoder, count what the encoder reads, then what the decoder reads, from the start "
        "token on.",
    ),
    reference=tokens_computed,
    cases=cases,
    alternatives=alternatives_in(__name__),
    mistakes=mistakes_in(__name__),
    see="Chapter 2, What writing costs",
)

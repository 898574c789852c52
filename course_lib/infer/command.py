"""What `course generate` and `course serve` do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_lib.errors import GenerationError
from course_lib.files import read_json
from course_lib.infer.generation.open_model import open_model
from course_lib.infer.generation.sampling import Sampling
from course_lib.infer.generation.text_generator import Prompt, TextGenerator


def write(
    name: str,
    prompt: str,
    system: str | None,
    chat: bool | None,
    max_tokens: int | None,
    sampling: Mapping[str, float | None],
    seed: int | None,
    stop: list[str],
    schema: Path | None,
    regex: str | None,
    bits: int | None,
) -> None:
    """Print the text that a model generates, piece by piece.

    Args:
        name: The name of a published model, or a folder.
        prompt: What to answer or to continue; "-" reads it from the standard input.
        system: What the model is told before the conversation; None for nothing.
        chat: Whether the prompt starts a conversation or is a text to continue; None for a conversation if the model
            has a chat template.
        max_tokens: The largest number of tokens to generate; None for as many as the context has room for.
        sampling: Fields of `Sampling`; None for the model's own value of a field.
        seed: The seed of the sampling; None for another one in each call.
        stop: Strings before which the text ends.
        schema: A file with a JSON Schema that the text has to satisfy; None for none.
        regex: A regular expression that the whole text has to match; None for none.
        bits: 8 or 4, to quantize the weights; None for the weights as they are.

    Raises:
        GenerationError: If the options contradict each other, the prompt is empty, or the text ends at the token limit
            before it matches the grammar.
        CourseError: If the model cannot be opened.
    """
    if schema is not None and regex is not None:
        raise GenerationError("--schema and --regex cannot be had together; pass one of them")
    text = _read_prompt(prompt)
    source = _grammar(schema, regex)
    chosen: dict[str, Any] = {field: value for field, value in sampling.items() if value is not None}
    Sampling(**chosen)  # checks the values before the model is opened
    model = open_model(name, bits)
    grammar = model.constrain(source) if source is not None else None
    whole = _conversation(model, text, system, chat)
    stream = model.stream(whole, max_tokens, replace(model.sampling, **chosen), stop=stop, grammar=grammar, seed=seed)
    try:
        for piece in stream:
            print(piece, end="", flush=True)
        print(flush=True)
    except KeyboardInterrupt:
        print(flush=True)
        raise
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if stream.finish_reason == "length":
        limit = "--max-tokens" if stream.completion_tokens == max_tokens else "the model's context"
        said = f"stopped after {stream.completion_tokens} tokens, where {limit} ends, before the text did"
        if source is not None:
            raise GenerationError(f"{said}: it does not match yet; allow more with --max-tokens")
        print(f"course: {said}", file=sys.stderr)


def _read_prompt(prompt: str) -> str:
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n")  # `echo` and files end with it
    except UnicodeDecodeError as error:
        raise GenerationError(f"what comes in is not UTF-8 ({error.reason} at byte {error.start})") from None


def _grammar(schema: Path | None, regex: str | None) -> str | None:
    if schema is None and regex is None:
        return None
    from course_lib.infer.constrained import grammar  # llguidance is not in the core

    if regex is not None:
        return grammar.regex(regex)
    assert schema is not None
    try:
        return grammar.json_schema(read_json(schema))
    except GenerationError as error:
        raise GenerationError(f"{schema}: {error}") from None


def _conversation(model: TextGenerator, text: str, system: str | None, chat: bool | None) -> Prompt:
    chat = model.chat_template is not None if chat is None else chat
    if not text.strip():
        raise GenerationError("the prompt is empty; write something after --prompt, or send it in with --prompt -")
    if not chat:
        if system is not None:
            raise GenerationError("--system is for conversations, and this text is continued; put it into the prompt")
        return text
    messages = [] if system is None else [{"role": "system", "content": system}]
    return [*messages, {"role": "user", "content": text}]


def serve(name: str, host: str, port: int, bits: int | None) -> None:
    """Serve a model over OpenAI's HTTP interface until Ctrl-C.

    Raises:
        GenerationError: If the address cannot be used.
        CourseError: If the model cannot be opened.
    """
    from course_lib.infer.server import app  # fastapi is an extra

    app.serve(open_model(name, bits), host, port)

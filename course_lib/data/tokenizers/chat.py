"""Conversations as text and tokens: chat templates, rendered as in transformers, and the mask of completions."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
import torch
from jaxtyping import Bool, Int
from jinja2 import ext, meta, nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from torch import Tensor

Message = Mapping[str, Any]

# The plain template that many models follow (OpenAI's Chat Markup Language).
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CUT = "\U000f0001"  # a character for private use, put where text must not join into a special token


def render(
    messages: Sequence[Message],
    template: str,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    **special_tokens: str,
) -> str:
    """Render a conversation as text, as `apply_chat_template` of transformers does for the same Jinja template.

    The template runs in a sandbox, since it comes with the files of a model.

    Args:
        messages: The messages, each with its "role" and, usually, its "content"; a value of None counts as missing.
        template: The Jinja template of the model.
        tools: Descriptions of functions, as in OpenAI's interface.
        add_generation_prompt: Whether the text ends with the beginning of the assistant's turn.
        special_tokens: The special tokens by the names that the template uses: bos_token, eos_token and so on.

    Raises:
        ValueError: If there are no messages, the template is not valid Jinja, or it rejects the messages; then the
            message is the template's own.
    """
    if not messages:
        raise ValueError("there are no messages; pass at least one, such as {'role': 'user', 'content': 'Hello'}")
    given = [{name: value for name, value in message.items() if value is not None} for message in messages]
    compiled = _compiled(template)
    try:
        return compiled.render(
            messages=given,
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **special_tokens,
        )
    except Exception as error:  # a template may do anything that an expression of Python can
        raise ValueError(f"the chat template cannot write these messages: {error}") from None


def encode(
    messages: Sequence[Message],
    template: str,
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **options: Any,
) -> list[int]:
    """Encode a conversation as tokens; names of special tokens in a message are encoded as plain text.

    Only the template writes special tokens, so no message can end its turn or begin a system turn. Arguments and errors
    are those of `render`.
    """
    names = _special(tokenizer)
    text = render(_apart(messages, names), template, tools=_apart(tools, names), **options)
    return _tokens(tokenizer, text)


def encode_for_training(
    messages: Sequence[Message],
    template: str,
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **special_tokens: str,
) -> tuple[Int[Tensor, " tokens"], Bool[Tensor, " tokens"]]:
    """Encode a conversation as tokens, with a mask that is True for those that the assistant learns to write.

    The mask covers each completion and the special token that ends its turn; if the template has no such token,
    everything that it writes between the generation prompt and the next message. Prompt and completion are tokenized
    separately, as when the model answers, so that no token is half prompt. Arguments are those of `render`.

    Raises:
        ValueError: As for `render`; also if the template writes a turn differently once others follow, as some do that
            leave out earlier thoughts.
    """
    names = _special(tokenizer)
    messages, tools = _apart(messages, names), _apart(tools, names)

    def write(n: int, prompt: bool = False) -> str:
        return render(messages[:n], template, tools=tools, add_generation_prompt=prompt, **special_tokens)

    whole = write(len(messages))
    ids: list[int] = []
    mask: list[bool] = []
    done = 0
    for i, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        # Not from `render` if a conversation begins with a completion: there are no messages before it.
        prompt = write(i, prompt=True) if i else ""
        turn = write(i + 1)
        if not (turn.startswith(prompt) and whole.startswith(turn) and len(prompt) >= done):
            raise ValueError(
                "the chat template writes a turn in another way once others follow, so which tokens are replies "
                "cannot be told; pass conversations of one reply, or another template"
            )
        before, reply = _tokens(tokenizer, whole[done : len(prompt)]), _tokens(tokenizer, turn[len(prompt) :])
        last = max((at for at, token in enumerate(reply) if token in names), default=len(reply) - 1)
        ids += before + reply
        mask += [False] * len(before) + [at <= last for at in range(len(reply))]
        done = len(turn)
    rest = _tokens(tokenizer, whole[done:])
    return torch.tensor(ids + rest), torch.tensor(mask + [False] * len(rest), dtype=torch.bool)


def uses_variable(template: str, name: str) -> bool:
    """Return whether a template uses a variable, for example "tools".

    Raises:
        ValueError: If the template is not valid Jinja; the message says why.
    """
    compiled = _compiled(template)
    return name in meta.find_undeclared_variables(compiled.environment.parse(template))


def _special(tokenizer: Tokenizer) -> dict[int, str]:
    return {i: token.content for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}


def _apart(value: Any, names: Mapping[int, str]) -> Any:
    """Return messages or tools with a cut after the first character of each special token's name in them."""
    if isinstance(value, str):
        for name in names.values():
            value = value.replace(name, name[0] + _CUT + name[1:])
        return value
    if isinstance(value, Mapping):
        return {_apart(key, names): _apart(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_apart(item, names) for item in value]
    return value


def _tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    return [i for part in text.split(_CUT) for i in tokenizer.encode(part, add_special_tokens=False).ids]


class _Generation(ext.Extension):
    """A Jinja extension that ignores the tags {% generation %} and {% endgeneration %}, which mark completions."""

    tags = {"generation"}  # noqa: RUF012  Jinja's own way

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what is between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.cache
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, ext.loopcontrols]
    )
    # Not Jinja's own filter, which writes & and < for the sake of HTML.
    environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return environment.from_string(template)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"the chat template is not valid Jinja: line {error.lineno}: {error.message}") from None


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)

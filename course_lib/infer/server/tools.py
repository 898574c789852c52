"""Tool calls: how functions are offered to a model, how it may call one, and how the call is parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from course_lib.data.tokenizers.chat import Message, uses_variable
from course_lib.errors import GenerationError
from course_lib.infer.constrained.grammar import json_schema, tool_calls

NO_PARAMETERS = {"type": "object", "additionalProperties": False}
EventKind = Literal["text", "name", "arguments"]
Event = tuple[EventKind, str]


class Tools:
    """The functions that a conversation offers.

    A call is written {"name": ..., "arguments": {...}}, between the marks <tool_call> if the chat template has them.

    Args:
        functions: The functions in OpenAI's format, with name, description and parameters.
        template: The model's chat template.
    """

    def __init__(self, functions: Sequence[Mapping[str, Any]] = (), template: str = "") -> None:
        self.functions = {function["name"]: function for function in functions}
        self.template_has_tools = uses_variable(template, "tools")
        marks = ("<tool_call>\n", "\n</tool_call>") if "<tool_call>" in template else ("", "")
        self.call_tail = "}" + marks[1]
        self.call_heads = {name: f'{marks[0]}{{"name": "{name}", "arguments": ' for name in self.functions}

    def grammar(self, names: Sequence[str], or_text: bool) -> str:
        """Return the grammar of a call of one of these functions.

        Args:
            names: The names of the functions that may be called.
            or_text: Whether any text that does not begin like a call is allowed instead.

        Raises:
            GenerationError: If the schema of a function's parameters is not supported or cannot be satisfied; the
                message names the function.
        """
        calls = {}
        for name in names:
            parameters = self.functions[name].get("parameters") or NO_PARAMETERS
            try:
                json_schema(parameters)
            except GenerationError as error:
                raise GenerationError(f"the parameters of {name}: {error}") from None
            calls[self.call_heads[name]] = parameters
        return tool_calls(calls, self.call_tail, or_text)

    def for_template(self) -> list[dict[str, Any]] | None:
        """Return the functions for a chat template that supports tools; None if it does not, or if there are none."""
        if not self.functions or not self.template_has_tools:
            return None
        return [{"type": "function", "function": dict(function)} for function in self.functions.values()]

    def add_to_messages(self, messages: Sequence[Message]) -> list[Message]:
        """Add the functions to the system message, for a template that does not support tools.

        Earlier calls become text of the assistant, and their results become messages of the user. For a template that
        supports tools the messages stay as they are.
        """
        if self.template_has_tools:
            return list(messages)
        told: list[Message] = [_as_text(message) for message in messages]
        if not self.functions:
            return told
        described = "\n".join(json.dumps(function, ensure_ascii=False) for function in self.functions.values())
        call = '{"name": NAME, "arguments": {...}}'
        system = f"You can call these functions:\n{described}\nTo call one, answer with {call} and nothing else."
        if told and told[0]["role"] == "system":
            system = f"{told.pop(0)['content']}\n\n{system}"
        return [{"role": "system", "content": system}, *told]


def _as_text(message: Message) -> dict[str, str]:
    """Rewrite a message for a template that does not support tools."""
    content = message.get("content") or ""
    if message["role"] == "tool":
        return {"role": "user", "content": f"The function returned: {content}"}
    calls = [
        json.dumps({"name": call["function"]["name"], "arguments": call["function"]["arguments"]})
        for call in message.get("tool_calls") or ()
    ]
    return {"role": message["role"], "content": "\n".join([*filter(None, [content]), *calls])}


class ToolCallParser:
    """A parser of a completion as it streams, which tells a call from text as soon as that is certain.

    Attributes:
        kind: The kind of the completion, text or a call with arguments; None until that is known.
    """

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.held = ""
        self.kind: Literal["text", "arguments"] | None = None

    def add(self, piece: str) -> Iterator[Event]:
        """Add a piece, and yield what is certain now: text, or first the name of a function and then its arguments."""
        self.held += piece
        if self.kind is None:
            for name, head in self.tools.call_heads.items():
                if self.held.startswith(head):
                    self.kind = "arguments"
                    self.held = self.held.removeprefix(head)
                    yield "name", name
                    break
            else:
                if any(head.startswith(self.held) for head in self.tools.call_heads.values()):
                    return
                self.kind = "text"
        # The last characters may be those that close the call.
        sure = len(self.held) - (len(self.tools.call_tail) if self.kind == "arguments" else 0)
        if sure > 0:
            shown, self.held = self.held[:sure], self.held[sure:]
            yield self.kind, shown

    def end(self, whole: bool) -> Iterator[Event]:
        """Yield what was held back.

        Args:
            whole: Whether the text is complete, not cut off.
        """
        if self.kind == "arguments" and whole:
            self.held = self.held.removesuffix(self.tools.call_tail)
        if self.held:
            yield self.kind or "text", self.held

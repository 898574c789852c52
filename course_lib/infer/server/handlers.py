"""Handlers: from a request in OpenAI's format to the text that answers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from course_lib.infer.constrained.grammar import json_schema
from course_lib.infer.generation.stream import TextStream
from course_lib.infer.generation.text_generator import GenerationError, TextGenerator
from course_lib.infer.server.protocol import ChatRequest, ChosenTool, CompletionRequest, Request, ResponseFormat
from course_lib.infer.server.tools import Event, ToolCallParser, Tools

DEFAULT_TOKENS = 16  # of a completion that says nothing of max_tokens, in OpenAI's interface


@dataclass
class Reply:
    """A text that is being generated, with the parser that finds a tool call in it.

    Attributes:
        stream: the text.
        parser: None where no tools were offered.
        called: whether a tool call was found so far.
    """

    stream: TextStream
    parser: ToolCallParser | None = None
    called: bool = False

    def events(self, piece: str) -> Iterator[Event]:
        """Parse a new piece: it adds text, the name of a function, or arguments."""
        if self.parser:
            yield from self._track_calls(self.parser.add(piece))
        elif piece:
            yield "text", piece

    def rest(self) -> Iterator[Event]:
        """Parse what is left at the end."""
        if self.parser:
            yield from self._track_calls(self.parser.end(whole=self.stream.finish_reason == "stop"))

    @property
    def finish_reason(self) -> str:
        """Why the text ended, as OpenAI says it."""
        reason = self.stream.finish_reason or "stop"
        return "tool_calls" if self.called and reason == "stop" else reason

    def _track_calls(self, events: Iterator[Event]) -> Iterator[Event]:
        for kind, text in events:
            self.called = self.called or kind == "name"
            if text:
                yield kind, text


def start_completion(model: TextGenerator, request: CompletionRequest) -> Reply:
    """Start to continue a text.

    Raises:
        GenerationError: for what cannot be done.
    """
    prompt: Any = request.prompt
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        (prompt,) = prompt
    return Reply(_stream(model, request, prompt, request.max_tokens or DEFAULT_TOKENS))


def start_chat(model: TextGenerator, request: ChatRequest) -> Reply:
    """Start to answer a conversation, in the form that was asked for.

    Raises:
        GenerationError: for what cannot be done.
    """
    try:
        messages: list[Any] = [message.for_template() for message in request.messages]
        tools, choice = _tools(model, request)
        form = request.response_format or ResponseFormat()
        if tools and form.type != "text":
            raise ValueError("tools and response_format cannot be had together; set tool_choice to none, or ask twice")
        offered, source = None, _grammar(form)
        if tools:
            messages, offered = tools.add_to_messages(messages), tools.for_template()
            names = list(tools.functions) if isinstance(choice, str) else [choice.function.name]
            source = tools.grammar(names, or_text=choice == "auto")
        else:  # earlier calls and their results are still told
            messages = Tools([], model.chat_template or "").add_to_messages(messages)
    except ValueError as error:
        raise GenerationError(str(error)) from None
    grammar = None if source is None else model.constrain(source)
    most = request.max_completion_tokens or request.max_tokens
    stream = _stream(model, request, messages, most, grammar=grammar, tools=offered)
    return Reply(stream, ToolCallParser(tools) if tools else None)


def _tools(model: TextGenerator, request: ChatRequest) -> tuple[Tools | None, Any]:
    """The tools that may be called, if any, and the choice among them."""
    functions = {tool.function.name: tool.function.model_dump(exclude_none=True) for tool in request.tools or ()}
    choice = request.tool_choice or ("auto" if functions else "none")
    if choice == "none":
        return None, choice
    if not functions:
        raise ValueError("tool_choice asks for a function, and tools names none")
    if isinstance(choice, ChosenTool) and choice.function.name not in functions:
        raise ValueError(f"tool_choice asks for {choice.function.name}, which is not among tools")
    return Tools(list(functions.values()), model.chat_template or ""), choice


def _grammar(form: ResponseFormat) -> str | None:
    if form.json_schema is not None and form.type == "json_schema":
        return json_schema(form.json_schema.schema_)
    return json_schema({"type": "object"}) if form.type == "json_object" else None


def _stream(model: TextGenerator, request: Request, prompt: Any, most: int | None, **options: Any) -> TextStream:
    # Where a request says nothing OpenAI samples at temperature 1; here, as in vLLM, each model has its own settings.
    asked = {name: getattr(request, name) for name in ("temperature", "top_k", "top_p", "min_p")}
    sampling = replace(model.sampling, **{name: value for name, value in asked.items() if value is not None})
    return model.stream(prompt, most, sampling, stop=request.stops, seed=request.seed, **options)

"""Handlers: from a request in OpenAI's format to the text that answers it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from course_lib.errors import GenerationError
from course_lib.infer.constrained.grammar import json_schema
from course_lib.infer.generation.stream import TextStream
from course_lib.infer.generation.text_generator import Prompt, TextGenerator
from course_lib.infer.server.protocol import ChatRequest, CompletionRequest, ResponseFormat, Tool
from course_lib.infer.server.tools import ToolCallParser, Tools

DEFAULT_TOKENS = 16  # OpenAI's default for a completion without max_tokens


class UnknownModel(GenerationError):
    """Raised when a request names another model than the one served."""


@dataclass(frozen=True)
class Reply:
    """A text that is being generated, with the parser that finds a tool call in it.

    Attributes:
        stream: The text, piece by piece.
        parser: Finds the tool call; treats everything as text if no tools were offered.
    """

    stream: TextStream
    parser: ToolCallParser

    @property
    def finish_reason(self) -> str:
        """The reason why the text ended, in OpenAI's words."""
        reason = self.stream.finish_reason or "stop"
        return "tool_calls" if self.parser.kind == "arguments" and reason == "stop" else reason

    @property
    def usage(self) -> dict[str, int]:
        """The numbers of tokens, in OpenAI's format."""
        prompt, completion = self.stream.prompt_tokens, self.stream.completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def check_model(model: TextGenerator, name: str) -> None:
    """Raise `UnknownModel` unless this is the name of the model."""
    if name != model.name:
        raise UnknownModel(f"there is no model {name!r} here; there is: {model.name}")


def start(model: TextGenerator, request: ChatRequest | CompletionRequest) -> Reply:
    """Start to generate the answer to a request.

    Raises:
        UnknownModel: If the request names another model.
        GenerationError: If the request cannot be fulfilled.
    """
    check_model(model, request.model)
    tools, grammar = Tools(), None
    prompt: Prompt
    if isinstance(request, ChatRequest):
        tools, grammar = _tools_and_grammar(model, request)
        prompt = tools.add_to_messages([message.for_template() for message in request.messages])
        max_tokens = request.max_completion_tokens or request.max_tokens
    else:
        prompt, max_tokens = request.prompt, request.max_tokens or DEFAULT_TOKENS
    stream = model.stream(
        prompt,
        max_tokens,
        # OpenAI's default is temperature 1; here, as in vLLM, the default is the model's own settings.
        replace(model.sampling, **request.sampling),
        stop=request.stops,
        grammar=None if grammar is None else model.constrain(grammar),
        seed=request.seed,
        tools=tools.for_template(),
    )
    return Reply(stream, ToolCallParser(tools))


def _tools_and_grammar(model: TextGenerator, request: ChatRequest) -> tuple[Tools, str | None]:
    """Return the functions that may be called, and the grammar of the format that the request asks for."""
    functions = {tool.function.name: tool.function.model_dump(exclude_none=True) for tool in request.tools or ()}
    choice = request.tool_choice or ("auto" if functions else "none")
    names = [choice.function.name] if isinstance(choice, Tool) else list(functions)
    if choice == "none":
        functions = {}
    elif not functions:
        raise GenerationError("tool_choice asks for a function, and tools names none")
    elif names[0] not in functions:
        raise GenerationError(f"tool_choice asks for {names[0]}, which is not among tools")
    tools = Tools(list(functions.values()), model.chat_template or "")
    form = request.response_format or ResponseFormat()
    if functions:
        if form.type != "text":
            raise GenerationError("tools and response_format cannot be had together; set tool_choice to none")
        return tools, tools.grammar(names, or_text=choice == "auto")
    if form.type == "text":
        return tools, None
    return tools, json_schema(form.json_schema.schema_ if form.json_schema else {"type": "object"})

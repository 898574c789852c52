"""OpenAI's wire format: the requests, which are validated, and the answers.

A setting that the server does not support is refused by name; a few settings that do not change the text are ignored.

Source: OpenAI, "API reference", chat completions and completions.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, assert_never

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, model_validator
from pydantic_core import PydanticCustomError

from course_lib.errors import GenerationError
from course_lib.infer.server.tools import Event, EventKind

# Unsupported settings, and the values at which they ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "best_of": (1,), "echo": (False,), "frequency_penalty": (0,), "logit_bias": ({},), "logprobs": (False,),
    "modalities": (["text"],), "n": (1,), "presence_penalty": (0,), "suffix": ("",), "top_logprobs": (0,),
}  # fmt: skip
# They concern billing, caches and logs, not the text. At most one function call is made at a time in any case.
IGNORED_SETTINGS = {
    "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "service_tier", "store", "user",
}  # fmt: skip

Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class TextPart(_Part):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class CalledFunction(_Part):
    """The name of a called function, with its arguments as JSON in a string."""

    name: str
    arguments: Json[Any]


class ToolCall(_Part):
    """A tool call made by the assistant."""

    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(_Part):
    """One message of a conversation."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None

    def for_template(self) -> dict[str, Any]:
        """Return the message as chat templates expect it.

        Raises:
            GenerationError: If the message is incomplete.
        """
        content = self.content if isinstance(self.content, str) else "".join(p.text for p in self.content or ())
        if self.content is None and not self.tool_calls:
            raise GenerationError(f"a message of the {self.role} has no content")
        message: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": content}
        if self.tool_calls:
            message["tool_calls"] = [call.model_dump() for call in self.tool_calls]
        return message


class Function(_Part):
    """A function that the model may call."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] | None = None


class Tool(_Part):
    """A tool that may or has to be called; functions are the only kind."""

    type: Literal["function"]
    function: Function


class NamedSchema(_Part):
    """A JSON Schema with a name; it is always enforced, strict or not."""

    name: str = ""
    schema_: Annotated[dict[str, Any] | bool, Field(alias="schema")]


class ResponseFormat(_Part):
    """The format that the answer has to have."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _complete(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("the type json_schema needs the field json_schema, with a name and a schema")
        return self


class StreamOptions(_Part):
    """Options of a stream; with include_usage the last chunk has the numbers of tokens."""

    include_usage: bool = False


class Request(BaseModel):
    """The settings common to both kinds of request; top_k and min_p are not OpenAI's."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Text | list[Text] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for name, off in UNSUPPORTED.items():
            if values.get(name) is not None and values[name] not in off:
                given = json.dumps(values[name])[:40]
                sentence = f"{name}={given} is not supported; leave {name} out"
                raise PydanticCustomError("not_supported", "{sentence}", {"sentence": sentence, "param": name})
        return {name: value for name, value in values.items() if name not in UNSUPPORTED.keys() | IGNORED_SETTINGS}

    @property
    def sampling(self) -> dict[str, Any]:
        """The fields of `Sampling` that the request sets."""
        return self.model_dump(include={"temperature", "top_k", "top_p", "min_p"}, exclude_none=True)

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


def _only_text(prompt: Any) -> Any:
    """Return the text of a list with one text part; anything else as it is."""
    return prompt[0] if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str) else prompt


class CompletionRequest(Request):
    """A request to continue a text, given as text or token ids."""

    prompt: Annotated[str | list[int], BeforeValidator(_only_text)]


class ChatRequest(Request):
    """A request to continue a conversation."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Tool | None = None


class ResponseWriter:
    """A writer of the JSON of one answer, whole or in chunks, all with the same id and time."""

    def __init__(self, chat: bool, model: str) -> None:
        self.chat = chat
        identifier = ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex
        self.common = {"id": identifier, "created": int(time.time()), "model": model}

    def whole(self, events: Sequence[Event], finish_reason: str, usage: dict[str, int]) -> dict[str, Any]:
        """Return the whole answer as JSON."""
        parts = {kind: "".join(text for k, text in events if k == kind) for kind in ("text", "name", "arguments")}
        if not self.chat:
            return self._body("text_completion", "text", parts["text"], finish_reason) | {"usage": usage}
        message: dict[str, Any] = {"role": "assistant", "content": parts["text"], "refusal": None}
        if parts["name"]:
            calls = [_call(parts["name"], parts["arguments"])]
            message |= {"content": parts["text"] or None, "tool_calls": calls}
        return self._body("chat.completion", "message", message, finish_reason) | {"usage": usage}

    def chunk(
        self, kind: Literal["role"] | EventKind | None = None, text: str = "", finish_reason: str | None = None
    ) -> dict[str, Any]:
        """Return one chunk of a stream.

        Args:
            kind: What is new in the chunk; None for nothing.
            text: The new text.
            finish_reason: Why the text ended; None before its end.
        """
        if not self.chat:
            return self._body("text_completion", "text", text, finish_reason)
        delta: dict[str, Any] = {}
        match kind:
            case "role":
                delta = {"role": text, "content": ""}
            case "text":
                delta = {"content": text}
            case "name":
                delta = {"tool_calls": [{"index": 0, **_call(text, "")}]}
            case "arguments":
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
            case None:
                pass
            case _:
                assert_never(kind)
        return self._body("chat.completion.chunk", "delta", delta, finish_reason)

    def _body(self, kind: str, name: str, content: Any, finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "logprobs": None, "finish_reason": finish_reason, name: content}
        return {**self.common, "object": kind, "choices": [choice]}


def _call(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}


def error_body(
    message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Any:
    """Return the body of the answer to a request that fails."""
    message = message.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be encoded
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def validation_message(errors: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a message about the first invalid field of a request, with its name, from pydantic's errors."""
    first = errors[0]
    if first["type"] == "json_invalid" and len(first["loc"]) == 2:
        return {"message": f"the request is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"}
    if first["type"] == "not_supported":
        return {"message": first["msg"], "param": first["ctx"]["param"]}
    place = [str(part) for part in first["loc"][1:]]  # after "body"
    if not place:
        return {"message": "the request is no JSON object; send one, with the content type application/json"}
    # If a field allows several types there is an error for each, and the location also names the type.
    same = [each for each in errors if each["loc"][1] == first["loc"][1]]
    param = ".".join(place) if len(same) == 1 else place[0]
    found = " or ".join(dict.fromkeys(_in_a_sentence(each) for each in same))
    return {"message": f"{param}: {found}", "param": param}


def _in_a_sentence(error: Mapping[str, Any]) -> str:
    message = str(error["ctx"]["error"] if error["type"] == "value_error" else error["msg"])
    return message[:1].lower() + message[1:]

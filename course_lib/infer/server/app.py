"""`course serve`: a model behind OpenAI's interface, for its own client and all others that speak it.

The model lives in one thread. Every text that is being written takes one step of it, a token, and then goes to the end
of the queue: all are written at the same pace, none waits for another to end, and what they share is the speed of one.
Reading a prompt is one step too: while a long one is read, the others wait.
A request that says nothing of temperature, top_p, top_k and min_p gets those that the model was published with.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import uuid
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from course_lib.infer.generation.text_generator import ContextLengthExceeded, GenerationError, TextGenerator
from course_lib.infer.server import handlers, protocol
from course_lib.infer.server.handlers import Reply
from course_lib.infer.server.tools import Event

MAX_RUNNING = 16  # texts that are written in turns; each has a cache of its own in memory, so further ones wait
LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 5  # seconds for what is under way when the server ends


def serve(model: TextGenerator, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until Ctrl-C; port 0 takes a free one. Raises GenerationError where the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise GenerationError(f"{host}:{port} cannot be listened at ({error}); pass another --port or --host") from None
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(model, stopping=lambda: server.should_exit),
            log_level="warning",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"
    print(f"{model.name} answers at {address} (Ctrl-C ends)", flush=True)
    if host not in LOOPBACK:
        print("Whoever can reach this machine can use it: there is no password.", file=sys.stderr, flush=True)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn has ended everything, and raises it again
        print()
    finally:
        listening.close()


def create_app(model: TextGenerator, stopping: Callable[[], bool] = lambda: False) -> FastAPI:
    """The server as an ASGI application. stopping: True when texts under way have to end."""
    api = FastAPI(title="course serve", docs_url=None, redoc_url=None, openapi_url=None)  # their pages load from afar
    turns = _Turns(stopping)
    described = {"id": model.name, "object": "model", "created": 0, "owned_by": "course_lib"}

    @api.get("/health")
    async def health() -> Any:
        return {"status": "ok", "model": model.name, "writing": turns.writing}

    @api.get("/v1/models")
    async def models() -> Any:
        return {"object": "list", "data": [described]}

    @api.get("/v1/models/{name:path}")
    async def one_model(name: str) -> Any:
        return described if name == model.name else _no_model(name, model)

    @api.post("/v1/completions")
    async def completions(body: protocol.CompletionRequest, request: Request) -> Any:
        if body.model != model.name:
            return _no_model(body.model, model)
        reply = await turns.run(partial(handlers.start_completion, model, body))
        return await _answer(turns, reply, protocol.ResponseWriter("text", model.name), body, request)

    @api.post("/v1/chat/completions")
    async def chat_completions(body: protocol.ChatRequest, request: Request) -> Any:
        if body.model != model.name:
            return _no_model(body.model, model)
        reply = await turns.run(partial(handlers.start_chat, model, body))
        return await _answer(turns, reply, protocol.ResponseWriter("chat", model.name), body, request)

    _errors(api)
    return api


class _Turns:
    """One thread that does everything with the model, a step at a time, in the order in which it is asked."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.room = asyncio.Semaphore(MAX_RUNNING)
        self.stopping = stopping
        self.writing = 0

    async def run(self, step: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, step)

    async def pieces(self, reply: Reply) -> AsyncGenerator[str, None]:
        """The pieces of a text, each when its turn comes. Whoever stops listening ends it."""
        async with self.room:
            self.writing += 1
            try:
                while (piece := await self.run(partial(next, reply.stream, None))) is not None:
                    if self.stopping():
                        raise HTTPException(503, "the server is being ended")
                    yield piece
            finally:
                self.writing -= 1
                self.thread.submit(reply.stream.close)  # after the step that may still be under way


async def _answer(
    turns: _Turns, reply: Reply, answer: protocol.ResponseWriter, body: protocol.Request, request: Request
) -> Response:
    if body.stream:
        return StreamingResponse(_events(turns, reply, answer, body.with_usage), media_type="text/event-stream")
    events: list[Event] = []
    async with aclosing(turns.pieces(reply)) as pieces:
        async for piece in pieces:
            events += reply.events(piece)
            if await request.is_disconnected():
                break
    events += reply.rest()
    content = "".join(text for kind, text in events if kind == "text")
    whole: Any = content
    if answer.chat:
        whole = {"role": "assistant", "content": content or (None if reply.called else ""), "refusal": None}
        if reply.called:
            name, arguments = ("".join(text for kind, text in events if kind == k) for k in ("name", "arguments"))
            whole["tool_calls"] = [_call(name, arguments)]
    return JSONResponse(answer.whole(whole, reply.finish_reason, _usage(reply)))


async def _events(
    turns: _Turns, reply: Reply, answer: protocol.ResponseWriter, with_usage: bool
) -> AsyncGenerator[str, None]:
    """The answer as server-sent events."""
    try:
        if answer.chat:
            yield _event(answer.chunk({"role": "assistant", "content": ""}))
        async with aclosing(turns.pieces(reply)) as pieces:
            async for piece in pieces:
                for kind, text in reply.events(piece):
                    yield _event(answer.chunk(_delta(kind, text) if answer.chat else text))
        for kind, text in reply.rest():
            yield _event(answer.chunk(_delta(kind, text) if answer.chat else text))
        yield _event(answer.chunk({} if answer.chat else "", reply.finish_reason))
        if with_usage:
            yield _event(answer.last(_usage(reply)))
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status was sent long ago, so the failure is said in the stream
        if isinstance(error, GenerationError):
            yield _event(protocol.error_body(str(error)))
            return
        message = error.detail if isinstance(error, HTTPException) else f"the server failed: {error}"
        yield _event(protocol.error_body(message, "server_error"))
        if not isinstance(error, HTTPException):
            raise


def _event(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _delta(kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "text":
            return {"content": text}
        case "name":
            return {"tool_calls": [{"index": 0, **_call(text, "")}]}
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


def _call(name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{uuid.uuid4().hex}", "type": "function", "function": function}


def _usage(reply: Reply) -> dict[str, int]:
    return protocol.usage(reply.stream.prompt_tokens, reply.stream.completion_tokens)


def _no_model(name: str, model: TextGenerator) -> JSONResponse:
    message = f"there is no model {name!r} here; there is: {model.name}"
    return JSONResponse(protocol.error_body(message, param="model", code="model_not_found"), 404)


def _errors(api: FastAPI) -> None:
    """Every failure in OpenAI's form, with the status that fits it."""

    @api.exception_handler(RequestValidationError)
    async def malformed(request: Request, failure: RequestValidationError) -> Response:
        return JSONResponse(protocol.error_body(**protocol.validation_message(failure.errors())), 400)

    @api.exception_handler(GenerationError)
    async def impossible(request: Request, failure: GenerationError) -> Response:
        code = "context_length_exceeded" if isinstance(failure, ContextLengthExceeded) else None
        return JSONResponse(protocol.error_body(str(failure), code=code), 400)

    @api.exception_handler(HTTPException)
    async def refused(request: Request, failure: HTTPException) -> Response:
        known = {404: f"there is no {request.url.path} here", 405: f"{request.method} is not for {request.url.path}"}
        message = known.get(failure.status_code, failure.detail)
        if failure.status_code == 400 and failure.__cause__ is not None:  # of FastAPI, where no JSON parser gets far
            message = f"the request cannot be read ({failure.__cause__}); send JSON in UTF-8, not nested too deep"
        kind = "server_error" if failure.status_code >= 500 else "invalid_request_error"
        return JSONResponse(protocol.error_body(message, kind), failure.status_code, headers=failure.headers)

    @api.exception_handler(Exception)
    async def failed(request: Request, failure: Exception) -> Response:
        return JSONResponse(protocol.error_body(f"the server failed: {failure}", "server_error"), 500)

"""`course serve`: a model behind OpenAI's HTTP interface, for OpenAI's client and all others that use it.

The model runs in one thread. Each text takes a turn of one step, which generates one token, and then goes to the end of
the queue. So all texts advance at the same pace, none waits for another to end, and together they are as fast as one
alone. Reading a prompt is one step too: while a long one is read, the others wait.
A request without temperature, top_p, top_k and min_p gets those that the model was published with.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from course_lib.errors import GenerationError
from course_lib.infer.generation.text_generator import ContextLengthExceeded, TextGenerator
from course_lib.infer.server import handlers, protocol
from course_lib.infer.server.handlers import Reply, UnknownModel
from course_lib.infer.server.tools import Event

MAX_RUNNING = 16  # texts generated in turns; each has its own KV cache in memory, so further ones wait
LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 5  # seconds for the texts under way when the server stops
Result = TypeVar("Result")


def serve(model: TextGenerator, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a model until Ctrl-C.

    Args:
        model: The model.
        host: The address to listen on.
        port: The port; 0 for a free one.

    Raises:
        GenerationError: If the address cannot be used.
    """
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
    with listening:
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has shut down, and raises it again
            print()


def create_app(model: TextGenerator, stopping: Callable[[], bool] = lambda: False) -> FastAPI:
    """Create the server as an ASGI application.

    Args:
        model: The model.
        stopping: Returns True when the texts under way have to end.
    """
    turns = _Turns(stopping)
    described = {"id": model.name, "object": "model", "created": 0, "owned_by": "course_lib"}
    api = FastAPI(
        title="course serve",
        docs_url=None,  # the documentation pages load files from other servers
        redoc_url=None,
        openapi_url=None,
        exception_handlers=dict.fromkeys((RequestValidationError, GenerationError, HTTPException, Exception), _refuse),
    )

    @api.get("/health")
    async def health() -> dict[str, str | int]:
        return {"status": "ok", "model": model.name, "writing": turns.writing}

    @api.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [described]}

    @api.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        handlers.check_model(model, name)
        return described

    @api.post("/v1/completions")
    async def completions(body: protocol.CompletionRequest, request: Request) -> Response:
        return await _answer(turns, model, body, request)

    @api.post("/v1/chat/completions")
    async def chat_completions(body: protocol.ChatRequest, request: Request) -> Response:
        return await _answer(turns, model, body, request)

    return api


class _Turns:
    """A thread that runs the steps of the model one at a time, in the order of the requests."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self.room = asyncio.Semaphore(MAX_RUNNING)
        self.stopping = stopping
        self.writing = 0

    async def run(self, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.thread, step)

    async def events(self, reply: Reply) -> AsyncGenerator[Event, None]:
        """Yield the events of a text, each when its turn comes; the text ends when nobody listens any more."""
        async with self.room:
            self.writing += 1
            try:
                while (piece := await self.run(partial(next, reply.stream, None))) is not None:
                    if self.stopping():
                        raise HTTPException(503, "the server is being ended")
                    for event in reply.parser.add(piece):
                        yield event
                for event in reply.parser.end(whole=reply.stream.finish_reason == "stop"):
                    yield event
            finally:
                self.writing -= 1
                self.thread.submit(reply.stream.close)  # after the step that may still be running


async def _answer(
    turns: _Turns, model: TextGenerator, body: protocol.ChatRequest | protocol.CompletionRequest, request: Request
) -> Response:
    reply = await turns.run(partial(handlers.start, model, body))
    writer = protocol.ResponseWriter(isinstance(body, protocol.ChatRequest), model.name)
    if body.stream:
        return StreamingResponse(_chunks(turns, reply, writer, body, request), media_type="text/event-stream")
    events: list[Event] = []
    async with aclosing(turns.events(reply)) as coming:
        async for event in coming:
            events.append(event)
            if await request.is_disconnected():
                break
    return JSONResponse(writer.whole(events, reply.finish_reason, reply.usage))


async def _chunks(
    turns: _Turns, reply: Reply, writer: protocol.ResponseWriter, body: protocol.Request, request: Request
) -> AsyncGenerator[str, None]:
    """Yield the answer as server-sent events."""
    try:
        if writer.chat:
            yield _server_sent(writer.chunk("role", "assistant"))
        async with aclosing(turns.events(reply)) as events:
            async for kind, text in events:
                yield _server_sent(writer.chunk(kind, text))
        yield _server_sent(writer.chunk(finish_reason=reply.finish_reason))
        if body.stream_options and body.stream_options.include_usage:
            yield _server_sent(writer.chunk() | {"choices": [], "usage": reply.usage})
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status has been sent already, so the error goes into the stream
        status, failure = _failure(error, request)
        yield _server_sent(failure)
        if status == 500:
            raise


def _server_sent(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


async def _refuse(request: Request, error: Exception) -> Response:
    status, failure = _failure(error, request)
    return JSONResponse(failure, status, headers=getattr(error, "headers", None))


def _failure(error: Exception, request: Request) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status of an error, and its form in OpenAI's interface."""
    match error:
        case RequestValidationError():
            return 400, protocol.error_body(**protocol.validation_message(error.errors()))
        case UnknownModel():
            return 404, protocol.error_body(str(error), param="model", code="model_not_found")
        case GenerationError():
            code = "context_length_exceeded" if isinstance(error, ContextLengthExceeded) else None
            return 400, protocol.error_body(str(error), code=code)
        case HTTPException(status_code=400):  # FastAPI's own, for a body that its JSON parser cannot read
            said = f"the request cannot be read ({error.__cause__}); send JSON in UTF-8, not nested too deep"
            return 400, protocol.error_body(said)
        case HTTPException(status_code=404 | 405):
            said = f"{error.detail}: {request.method} {request.url.path}"
            return error.status_code, protocol.error_body(said)
        case HTTPException():
            return error.status_code, protocol.error_body(error.detail, "server_error")
    return 500, protocol.error_body(f"the server failed: {error}", "server_error")

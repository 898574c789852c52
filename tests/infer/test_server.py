"""The server, on a real socket, with OpenAI's own client and with raw requests that no client would send."""

import asyncio
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import re
import socket
import threading
import time
from typing import Literal

import httpx
import openai
import pydantic
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import tiny

from course_lib.data.tokenizers.chat import CHATML
from course_lib.infer.generation.sampling import GREEDY
from course_lib.infer.server import app, protocol
from course_lib.infer.server.tools import ToolCallParser, Tools

ASKED = [{"role": "user", "content": "hi there"}]
NATIVE = "{% if tools %}{{ tools | tojson }} <tool_call>{% endif %}" + CHATML
WEATHER = {
    "name": "weather",
    "description": "How it is outside.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Köln"]}, "days": {"type": "integer", "minimum": 1, "maximum": 14}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
CLOCK = {"name": "weather_clock"}
TOOLS = [{"type": "function", "function": function} for function in (WEATHER, CLOCK)]


class Running:
    """A server in a thread of this process."""

    def __init__(self, model):
        self.model = model
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.app = app.create_app(model, stopping=lambda: self.server.should_exit)
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", timeout_graceful_shutdown=5))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=30)

    def chat(self, **options):
        return self.client.chat.completions.create(**{"model": "tiny", "messages": ASKED, "max_tokens": 40} | options)

    def health(self):
        return httpx.get(f"{self.url}/health").json()

    def end(self):
        self.server.should_exit = True
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def server():
    running = Running(tiny(context=1000))
    yield running
    running.end()


@pytest.fixture(scope="module")
def endless():
    """A model that never ends a text by itself."""
    running = Running(tiny(context=100_000, end=()))
    yield running
    running.end()


@pytest.fixture(scope="module")
def native():
    """A model whose template knows of tools."""
    running = Running(tiny(context=1000, template=NATIVE))
    yield running
    running.end()


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


# Texts


def test_models_are_listed(server):
    assert [model.id for model in server.client.models.list()] == ["tiny"]
    assert server.client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match=r"no model 'other/one' here; there is: tiny"):
        server.client.models.retrieve("other/one")


def test_a_chat_whole_and_in_pieces_is_what_the_model_writes(server):
    stream = server.model.stream(ASKED, 30, GREEDY)
    text = "".join(stream)
    answer = server.chat(temperature=0, max_tokens=30)
    assert (answer.choices[0].message.role, answer.choices[0].message.content) == ("assistant", text)
    assert (answer.object, answer.choices[0].finish_reason) == ("chat.completion", stream.finish_reason)
    numbers = (stream.prompt_tokens, stream.completion_tokens, stream.prompt_tokens + stream.completion_tokens)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == numbers

    chunks = list(server.chat(temperature=0, max_tokens=30, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == text
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert reasons == [None] * (len(chunks) - 2) + [stream.finish_reason]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], answer.usage)
    assert len({(chunk.id, chunk.created, chunk.object) for chunk in chunks}) == 1
    assert not any(chunk.usage for chunk in server.chat(max_tokens=2, stream=True)), "nobody asked for it"


def test_a_text_is_continued_from_text_or_tokens(server):
    ids = server.model.encode("hi there")
    wanted = "".join(server.model.stream("hi there", 16, GREEDY))
    for prompt in ("hi there", ["hi there"], ids):
        answer = server.client.completions.create(model="tiny", prompt=prompt, temperature=0)
        assert (answer.choices[0].text, answer.object, answer.usage.prompt_tokens) == (
            wanted,
            "text_completion",
            len(ids),
        )
    chunks = list(server.client.completions.create(model="tiny", prompt="hi there", temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == wanted
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason


def test_settings_reach_the_model(server):
    whole = server.chat(temperature=0).choices[0].message.content
    stopped = server.chat(temperature=0, stop=[whole[4:6], "never"]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (whole[: whole.index(whole[4:6])], "stop")
    assert server.chat(temperature=0, stop=whole[4:6]).choices[0].message.content == stopped.message.content
    one, two, other = (server.chat(seed=seed).choices[0].message.content for seed in (-5, -5, 6))
    assert one == two != other
    for options in ({"top_p": 1e-6}, {"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 1.0}}):
        assert server.chat(seed=1, **options).choices[0].message.content == whole
    limited = server.chat(temperature=0, max_tokens=openai.omit, max_completion_tokens=3)
    assert (limited.usage.completion_tokens, limited.choices[0].finish_reason) == (3, "length")
    assert server.chat(n=1, user="me", frequency_penalty=0, logit_bias={}, metadata={"a": "b"}, logprobs=False)


def test_a_request_that_says_nothing_is_sampled_as_the_model_was_published():
    running = Running(dataclasses.replace(tiny(context=1000), sampling=GREEDY))
    texts = [running.chat(seed=seed).choices[0].message.content for seed in (1, 2)]
    assert texts[0] == texts[1] == running.chat(temperature=0).choices[0].message.content
    assert running.chat(seed=1, temperature=1).choices[0].message.content != texts[0]
    running.end()


def test_roles_and_parts_reach_the_template(server):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi "}, {"type": "text", "text": "there"}]},
    ]
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi there"}]
    answer = server.chat(messages=messages, max_tokens=1)
    assert answer.usage.prompt_tokens == len(server.model.encode(said))


# Form


class Point(pydantic.BaseModel):
    x: int = pydantic.Field(ge=-9, le=9)
    colour: Literal["red", "green"]


def test_noise_takes_the_form_of_a_schema(server):
    parse = server.client.chat.completions.parse
    answer = parse(model="tiny", messages=ASKED, response_format=Point, max_tokens=60, seed=1)
    assert isinstance(answer.choices[0].message.parsed, Point)
    assert answer.choices[0].finish_reason == "stop"
    form = {"type": "json_schema", "json_schema": {"name": "list", "schema": {"enum": [[1, 2]]}}}
    chunks = server.chat(response_format=form, stream=True)
    assert json.loads("".join(chunk.choices[0].delta.content or "" for chunk in chunks)) == [1, 2]


def test_any_json_object(server):
    for seed in range(4):
        choice = server.chat(response_format={"type": "json_object"}, seed=seed, max_tokens=400).choices[0]
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)
        else:
            assert choice.message.content[0] == "{"


# Calls of functions


def valid(arguments):
    found = json.loads(arguments)
    assert found.keys() == {"city", "days"}
    assert found["city"] in ("Rome", "Köln")
    assert found["days"] in range(1, 15)


@pytest.mark.parametrize("which", ["server", "native"])
def test_a_call_whose_arguments_satisfy_their_schema(which, request):
    running = request.getfixturevalue(which)
    chosen = {"type": "function", "function": {"name": "weather"}}
    for seed in range(3):
        answer = running.chat(tools=TOOLS, tool_choice=chosen, seed=seed, max_tokens=120)
        (call,) = answer.choices[0].message.tool_calls
        assert (call.type, call.function.name, answer.choices[0].finish_reason) == ("function", "weather", "tool_calls")
        assert answer.choices[0].message.content is None
        valid(call.function.arguments)
    for seed in range(2):
        answer = running.chat(tools=TOOLS, tool_choice="required", seed=seed, max_tokens=120)
        (call,) = answer.choices[0].message.tool_calls
        if call.function.name == "weather":
            valid(call.function.arguments)
        else:
            assert (call.function.name, call.function.arguments) == ("weather_clock", "{}")


def test_a_call_in_pieces(server):
    chosen = {"type": "function", "function": {"name": "weather"}}
    chunks = [c.choices[0] for c in server.chat(tools=TOOLS, tool_choice=chosen, stream=True, max_tokens=120)]
    calls = [chunk.delta.tool_calls[0] for chunk in chunks if chunk.delta.tool_calls]
    assert (calls[0].function.name, calls[0].type, bool(calls[0].id)) == ("weather", "function", True)
    assert not any(call.function.name or call.id for call in calls[1:])
    assert len(calls) > 5, "the arguments come while they are written"
    valid("".join(call.function.arguments for call in calls))
    assert chunks[-1].finish_reason == "tool_calls"


def test_auto_is_text_or_a_call_and_none_is_text(server):
    free = server.chat(tools=TOOLS, seed=1).choices[0]
    assert (free.message.tool_calls, free.message.content[0] != "{") == (None, True)
    plain = server.chat(tools=TOOLS, tool_choice="none", seed=1)
    assert plain.choices[0].message == server.chat(seed=1).choices[0].message


def test_a_call_that_is_cut_off_says_so(server):
    chosen = {"type": "function", "function": {"name": "weather"}}
    begun = len(server.model.encode(Tools([WEATHER], CHATML).call_heads["weather"]))
    choice = server.chat(tools=TOOLS, tool_choice=chosen, max_tokens=begun + 4, seed=2).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.arguments[:3]) == ("length", '{"c')
    choice = server.chat(tools=TOOLS, tool_choice="required", max_tokens=3, seed=2).choices[0]
    assert (choice.finish_reason, choice.message.content, choice.message.tool_calls) == ("length", '{"n', None)


@pytest.mark.parametrize("which", ["server", "native"])
def test_what_a_function_returned_goes_back_to_the_model(which, request):
    running = request.getfixturevalue(which)
    called = running.chat(tools=TOOLS, tool_choice="required", max_tokens=120, seed=1).choices[0].message
    returned = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "Sunny."}
    answer = running.chat(messages=[*ASKED, called, returned], tools=TOOLS, tool_choice="auto", max_tokens=5)
    assert answer.usage.prompt_tokens > running.chat(tools=TOOLS, max_tokens=1).usage.prompt_tokens


def test_a_template_without_tools_is_told_of_them():
    tools = Tools([WEATHER], CHATML)
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome", "days": 2}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Rome?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "Sunny."},
    ]
    told = tools.add_to_messages(messages)
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]
    assert told[0]["content"].startswith("Be brief.\n\nYou can call these functions:\n")
    assert json.dumps(WEATHER, ensure_ascii=False) in told[0]["content"]
    assert told[2]["content"] == '{"name": "weather", "arguments": {"city": "Rome", "days": 2}}'
    assert told[2]["content"].startswith(tools.call_heads["weather"]), "as calls are to be written"
    assert told[3]["content"] == "The function returned: Sunny."
    assert [message["role"] for message in tools.add_to_messages(messages[1:2])] == ["system", "user"]
    assert tools.for_template() is None
    without = Tools([], CHATML).add_to_messages(messages)  # a question that offers none any more
    assert without[:2] == messages[:2]
    assert without[2:] == told[2:]
    native = Tools([WEATHER], NATIVE)
    assert native.add_to_messages(messages) == messages
    assert native.for_template() == TOOLS[:1]


@pytest.mark.parametrize("template", [CHATML, NATIVE])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_call_is_told_from_text_however_it_is_cut(template, data):
    tools = Tools([WEATHER, CLOCK], template)
    name = data.draw(st.sampled_from(["weather", "weather_clock", None]))
    arguments = data.draw(st.sampled_from(["{}", '{"a": {}}', '{"a": "}\n</tool_call>"}']))
    text = data.draw(
        st.sampled_from(["", "hello", '{"name": "other", "arguments": {}}', "<tool", '{"name": "weather"'])
    )
    whole = text if name is None else tools.call_heads[name] + arguments + tools.call_tail
    cut = data.draw(st.booleans())
    if cut and name:
        whole = whole[: data.draw(st.integers(len(tools.call_heads[name]), len(whole) - 1))]
    reader, events, at = ToolCallParser(tools), [], 0
    sizes = itertools.cycle([*data.draw(st.lists(st.integers(0, 5), max_size=4)), 1])
    while at < len(whole):
        step = next(sizes)
        events += reader.add(whole[at : at + step])
        at += step
    events += reader.end(whole=not cut)
    joined = {kind: "".join(text for k, text in events if k == kind) for kind in ("text", "name", "arguments")}
    if name is None:
        assert joined == {"text": text, "name": "", "arguments": ""}
    else:
        wanted = whole.removeprefix(tools.call_heads[name]) if cut else arguments
        assert joined == {"text": "", "name": name, "arguments": wanted}


# Several at once, and clients that leave


def test_two_clients_are_served_in_turns(endless):
    """Each gets a token, then the other: neither waits for the other's end."""
    order = []

    async def read(client, name, n):
        stream = await client.completions.create(model="tiny", prompt="hi", max_tokens=n, stream=True)
        async for _ in stream:
            order.append(name)

    async def both():
        async with openai.AsyncOpenAI(base_url=f"{endless.url}/v1", api_key="none", max_retries=0) as client:
            await asyncio.gather(read(client, "a", 300), read(client, "b", 300))

    asyncio.run(both())
    first = order[-1]  # that of the one that ended last
    other = "b" if first == "a" else "a"
    ended = len(order) - 1 - order[::-1].index(other)
    # With one text after the other nothing of the later one would come before the earlier one's end; in turns, nearly
    # all, whatever of it may still lie in a buffer.
    assert order[:ended].count(first) > 150


def test_more_clients_than_there_is_room_for_wait_and_are_all_served(monkeypatch):
    monkeypatch.setattr(app, "MAX_RUNNING", 2)
    run, may_write = app._Turns.run, threading.Event()

    async def held(turns, step):
        while step.func is next and not may_write.is_set():  # or short texts end before anybody counts them
            await asyncio.sleep(0.01)
        return await run(turns, step)

    monkeypatch.setattr(app._Turns, "run", held)
    running = Running(tiny(context=1000, end=()))
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(running.chat, seed=seed, max_tokens=80) for seed in range(5)]
        until(lambda: running.health()["writing"] == 2)
        for _ in range(10):
            time.sleep(0.02)
            assert running.health()["writing"] == 2, "the third waits for room"
        may_write.set()
    for seed, answer in enumerate(answers):
        assert (
            answer.result().choices[0].message.content
            == running.chat(seed=seed, max_tokens=80).choices[0].message.content
        )
    running.end()


@pytest.mark.parametrize("stream", [True, False])
def test_who_hangs_up_ends_the_text_and_the_server_goes_on(endless, stream):
    body = {"model": "tiny", "prompt": "hi", "max_tokens": 90_000, "stream": stream}
    if stream:
        with httpx.stream("POST", f"{endless.url}/v1/completions", json=body, timeout=30) as response:
            lines = response.iter_lines()
            assert all(next(lines) is not None for _ in range(10))
            assert endless.health()["writing"] == 1
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{endless.url}/v1/completions", json=body, timeout=0.5)
    until(lambda: endless.health()["writing"] == 0)
    assert endless.client.completions.create(model="tiny", prompt="hi", max_tokens=3).usage.completion_tokens == 3


def test_a_server_that_is_ended_ends_its_texts():
    running = Running(tiny(context=100_000, end=()))
    ask = functools.partial(running.client.completions.create, model="tiny", prompt="hi", max_tokens=90_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        whole = pool.submit(ask)
        until(lambda: running.health()["writing"] == 1)
        stream = ask(stream=True)
        next(iter(stream))
        began = time.monotonic()
        running.server.should_exit = True
        with pytest.raises(openai.APIError, match="the server is being ended"):
            list(stream)
        with pytest.raises(openai.InternalServerError, match="the server is being ended") as failure:
            whole.result()
    assert (failure.value.status_code, failure.value.type) == (503, "server_error")
    running.end()
    assert time.monotonic() - began < app.GRACE_SECONDS, "it need not be forced"


def test_a_failure_of_the_model_is_told_and_the_server_goes_on(server, monkeypatch):
    whole = server.chat(seed=1)

    def fail(*args, **options):
        yield [1]
        raise RuntimeError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr("course_lib.infer.generation.text_generator.generate", fail)
        with pytest.raises(openai.InternalServerError, match="the server failed: out of luck"):
            server.chat()
        with pytest.raises(openai.APIError, match="the server failed: out of luck"):
            list(server.chat(stream=True))
    until(lambda: server.health()["writing"] == 0)
    assert server.chat(seed=1).choices == whole.choices


# What is refused


JSON = {"content-type": "application/json"}
CHAT = {"model": "tiny", "messages": ASKED}
TEXT = {"model": "tiny", "prompt": "hi"}
FORM = {"type": "json_schema", "json_schema": {"name": "x"}}


def schema(schema):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


REFUSED = [
    (CHAT | {"messages": []}, "messages", "messages: list should have at least 1 item"),
    (CHAT | {"messages": "hi"}, "messages", "messages: input should be a valid list"),
    (CHAT | {"messages": [{"role": "king", "content": ""}]}, "messages.0.role", "'developer', 'system'"),
    (CHAT | {"messages": [{"role": "user"}]}, None, "a message of the user has no content"),
    (CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None, "messages: "),
    (
        CHAT | {"messages": [{"role": "user", "content": "x" * 1000}]},
        None,
        "the prompt has 10.. tokens, and the context",
    ),
    ({"messages": ASKED}, "model", "model: field required"),
    (CHAT | {"temperature": "hot"}, "temperature", "temperature: input should be a valid number"),
    (CHAT | {"temperature": 3}, "temperature", "less than or equal to 2"),
    (CHAT | {"temperature": True}, "temperature", "temperature: input should be a valid number"),
    (CHAT | {"top_p": 0}, "top_p", "greater than 0"),
    (CHAT | {"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    (CHAT | {"max_tokens": 1.5}, "max_tokens", "valid integer"),
    (CHAT | {"seed": 1 << 63}, "seed", "less than"),
    (CHAT | {"stop": ""}, None, "stop: string should have at least 1 character or "),
    (CHAT | {"stop": [1]}, None, "stop: "),
    (CHAT | {"stream": "yes"}, "stream", "valid boolean"),
    (CHAT | {"n": 2}, "n", "^n=2 is not supported; leave n out"),
    (CHAT | {"logprobs": True}, "logprobs", "^logprobs=true is not supported"),
    (CHAT | {"presence_penalty": 0.5}, "presence_penalty", "^presence_penalty=0.5 is not supported"),
    (CHAT | {"colour": "red"}, "colour", "^colour: extra inputs are not permitted"),
    (CHAT | {"response_format": FORM}, "response_format.json_schema.schema", "schema: field required"),
    (
        CHAT | {"response_format": {"type": "json_schema"}},
        "response_format",
        "^response_format: the type json_schema needs the field json_schema",
    ),
    (CHAT | schema({"type": "string", "minLength": 3, "maxLength": 2}), None, "no text can satisfy the schema"),
    (CHAT | schema(False), None, "no text can satisfy the schema"),
    (CHAT | schema({"not": {}}), None, r'Unimplemented keys: \["not"\]'),
    (CHAT | schema({"type": "string", "pattern": "("}), None, "not a regular expression"),
    (CHAT | schema({"type": "object", "properties": {"\ud800": {}}}), None, "surrogates not allowed"),
    (CHAT | {"tools": TOOLS} | schema({"type": "null"}), None, "tools and response_format cannot be had together"),
    (CHAT | {"tool_choice": "required"}, None, "tool_choice asks for a function, and tools names none"),
    (CHAT | {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name", "match pattern"),
    (
        CHAT | {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}},
        None,
        "asks for other, which is not among tools",
    ),
    (
        CHAT | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}]},
        None,
        "the parameters of f: ",
    ),
    (TEXT | {"prompt": ""}, None, "the prompt is empty"),
    (TEXT | {"prompt": []}, None, "the prompt is empty"),
    (TEXT | {"prompt": ["a", "b"]}, None, "prompt: "),
    (TEXT | {"prompt": [5, 999]}, None, "the token 999 of the prompt is none of"),
    (TEXT | {"prompt": 5}, None, "prompt: "),
    (TEXT | {"prompt": "x" * 1000}, None, "the prompt has 1000 tokens, and the context of tiny is 1000"),
    (TEXT | {"echo": True}, "echo", "^echo=true is not supported"),
    (TEXT | {"tools": []}, "tools", "^tools: extra inputs are not permitted"),
]


@pytest.mark.parametrize(("body", "param", "words"), REFUSED, ids=[words[:40] for _, _, words in REFUSED])
def test_a_request_that_cannot_be_met_is_refused_with_a_sentence(server, body, param, words):
    path = "chat/completions" if "prompt" not in body else "completions"
    for stream in ({}, {"stream": True}) if "stream" not in body else ({},):
        response = httpx.post(f"{server.url}/v1/{path}", content=json.dumps(body | stream), headers=JSON)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert re.search(words, error["message"]), error["message"]
        assert "\n" not in error["message"]
        if param:
            assert error["param"] == param
        assert error["code"] == ("context_length_exceeded" if "and the context" in words else None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"model": ', "the request is not JSON"),
        (b"", "the request is no JSON object; send one"),
        (b"[]", "the request is no JSON object; send one"),
        (b"null", "the request is no JSON object; send one"),
        (b'"hi"', "the request is no JSON object; send one"),
        (b'{"model": "tiny", "prompt": "\\ud800"}', "half a surrogate pair"),
        (b'{"model": "tiny", "prompt": "hi", "\\ud800": 1}', ""),
        (b'{"model": "tiny", "prompt": "hi", "temperature": NaN}', "temperature: "),
        (b'{"model": "tiny", "prompt": "\xff"}', "the request cannot be read ('utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "the request cannot be read (maximum recursion depth"),
        (b'{"model": "tiny", "prompt": "hi", "seed": ' + b"9" * 5000 + b"}", ""),
    ],
)
def test_what_is_no_request_is_refused(server, content, words):
    response = httpx.post(f"{server.url}/v1/completions", content=content, headers=JSON)
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_page_of_another_site_cannot_make_the_model_work(server):
    """A browser sends text/plain anywhere without asking first, but not JSON."""
    response = httpx.post(
        f"{server.url}/v1/completions", content=json.dumps(TEXT), headers={"content-type": "text/plain"}
    )
    assert response.status_code == 400
    assert "application/json" in response.json()["error"]["message"]


def test_statuses_of_openai(server):
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4' here; there is: tiny") as failure:
        server.chat(model="gpt-4")
    assert (failure.value.code, failure.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="n=3 is not supported"):
        server.chat(n=3)
    for method, path, status, words in [
        ("GET", "/v1/chat/completions", 405, "Method Not Allowed: GET /v1/chat/completions"),
        ("POST", "/v1/embeddings", 404, "Not Found: POST /v1/embeddings"),
        ("GET", "/docs", 404, "Not Found: GET /docs"),
    ]:
        response = httpx.request(method, server.url + path)
        assert (response.status_code, response.json()["error"]["message"]) == (status, words)
    assert server.health() == {"status": "ok", "model": "tiny", "writing": 0}


def test_every_setting_of_openai_is_known_or_refused_by_name():
    from openai.types import completion_create_params as text
    from openai.types.chat import completion_create_params as chat

    theirs = {
        protocol.ChatRequest: chat.CompletionCreateParamsBase,
        protocol.CompletionRequest: text.CompletionCreateParamsBase,
    }
    refused = set()
    for ours, params in theirs.items():
        refused |= (
            params.__annotations__.keys()
            - ours.model_fields.keys()
            - protocol.UNSUPPORTED.keys()
            - protocol.IGNORED_SETTINGS
        )
    assert refused <= {
        "audio", "function_call", "functions", "moderation", "prediction", "reasoning_effort", "verbosity",
        "web_search_options",
    }  # fmt: skip

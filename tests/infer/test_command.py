"""`course generate` and `course serve` from the shell: what they print, what stops them, and what they refuse."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import openai
import pytest
from shell import course
from tiny_text import END, tiny_folder

from course_lib.infer.generation import open_model
from course_lib.infer.generation.sampling import GREEDY

PROGRAM = [sys.executable, "-c", "import torch; torch.set_num_threads(1); from course_lib.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A model that has room for a long text and no token that ends one."""
    folder = tiny_folder(tmp_path_factory.mktemp("endless"), context=200_000)
    (folder / "generation_config.json").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": settings["tokenizer_class"]}))
    return folder


def written(capsys, *words):
    """What `course generate` prints, and what it says beside."""
    assert course("generate", *words) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith("\n")
    return captured.out[:-1], captured.err


def refused(capsys, *words):
    """The one sentence that the command ends with."""
    assert course(*words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("course: ")
    assert captured.err.count("\n") == 1
    return captured.err


def started(*words):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as at home
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*PROGRAM, *map(str, words)], env=environment, preexec_fn=hear_ctrl_c, **pipes)


def hear_ctrl_c():
    """A shell starts what runs in the background deaf to it, and whoever that starts inherits this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# course generate


def test_it_prints_what_the_model_writes(folder, capsys):
    model = open_model.open_model(folder)
    for option, prompt in (("--chat", [{"role": "user", "content": "hi"}]), ("--raw", "hi")):
        stream = model.stream(prompt, 20, GREEDY)
        words = (folder, "--prompt", "hi", option, "--temperature", 0, "--max-tokens", 20)
        assert written(capsys, *words)[0] == "".join(stream)
    assert written(capsys, *words[:3], *words[4:]) != written(capsys, *words), (
        "by default a model with a template answers"
    )
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    words = (folder, "--prompt", "hi", "--temperature", 0, "--max-tokens", 20, "--system", "Be brief.")
    assert written(capsys, *words)[0] == "".join(model.stream(system, 20, GREEDY))


def test_a_prompt_from_another_program(folder, capsys, monkeypatch):
    words = ("--temperature", 0, "--max-tokens", 9)

    def send(content):  # in whatever encoding the terminal has: what comes in is UTF-8
        stream = io.TextIOWrapper(io.BytesIO(content), encoding="ascii", errors="surrogateescape")
        monkeypatch.setattr(sys, "stdin", stream)

    send("hi é\n".encode())
    assert written(capsys, folder, "--prompt", "-", *words) == written(capsys, folder, "--prompt", "hi é", *words)
    send(b"hi \xff")
    assert "what comes in is not UTF-8" in refused(capsys, "generate", folder, "--prompt", "-")
    send(b"")
    assert "the prompt is empty" in refused(capsys, "generate", folder, "--prompt", "-")


def test_settings_reach_the_model(folder, capsys):
    words = (folder, "--prompt", "hi", "--max-tokens", 20)
    greedy = written(capsys, *words, "--temperature", 0)
    one, two, other = (written(capsys, *words, "--seed", seed) for seed in (1, 1, 2))
    assert one == two != other
    for option, value in (("--top-k", 1), ("--top-p", 0.000001), ("--min-p", 1)):
        assert written(capsys, *words, option, value) == greedy
    assert greedy[1] == "course: stopped after 20 tokens, where --max-tokens ends, before the text did\n"
    text = greedy[0]
    rounded = "".join(open_model.open_model(folder, bits=8).stream([{"role": "user", "content": "hi"}], 200, GREEDY))
    long = (*words, "--temperature", 0, "--max-tokens", 200)  # in the first 60 tokens rounding changes none
    assert written(capsys, *long, "--bits", 8)[0] == rounded != written(capsys, *long)[0]
    stopped = written(capsys, *words, "--temperature", 0, "--stop", "never", "--stop", text[5:7])
    assert stopped == (text[: text.index(text[5:7])], "")


def test_what_is_not_said_is_as_the_model_was_published(folder, capsys, tmp_path):
    published = tiny_folder(tmp_path)
    settings = {"eos_token_id": END, "do_sample": True, "temperature": 0.5, "top_k": 1}
    (published / "generation_config.json").write_text(json.dumps(settings))
    words = ("--prompt", "hi", "--max-tokens", 20, "--seed", 1)
    greedy = written(capsys, published, *words)
    assert greedy == written(capsys, folder, *words, "--temperature", 0) != written(capsys, folder, *words)
    explicit = written(capsys, published, *words, "--temperature", 2, "--top-k", 300)
    assert explicit == written(capsys, folder, *words, "--temperature", 2, "--top-k", 300) != greedy


def test_noise_takes_the_form_of_a_schema_and_of_a_pattern(folder, capsys, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}))
    for seed in range(3):
        found = json.loads(written(capsys, folder, "--prompt", "hi", "--schema", file, "--seed", seed)[0])
        assert 1 <= len(found) <= 3
        assert all(isinstance(value, bool) for value in found)
    assert re.fullmatch("a{2,5}é", written(capsys, folder, "--prompt", "hi", "--regex", "a{2,5}é")[0])
    said = refused(capsys, "generate", folder, "--prompt", "hi", "--regex", "a{50}", "--max-tokens", 7)
    assert "stopped after 7 tokens, where --max-tokens ends" in said
    assert "it does not match yet; allow more with --max-tokens" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", ""], "the prompt is empty; write something after --prompt"),
        (["--prompt", " \n"], "the prompt is empty"),
        (
            ["--prompt", "x" * 300],
            r"the prompt has 3\d\d tokens, and the context of tiny\d is 256, .*; shorten the prompt",
        ),
        (["--prompt", "x", "--stop", ""], "a stop string is empty"),
        (["--prompt", "x", "--regex", "("], "not a regular expression"),
        (["--prompt", "x", "--regex", "[^\\s\\S]"], "matches the pattern"),
        (["--prompt", "x", "--regex", "a", "--schema", "b"], "--schema and --regex cannot be had together"),
        (["--prompt", "x", "--regex", "", "--schema", "b"], "--schema and --regex cannot be had together"),
        (["--prompt", "x", "--schema", "nowhere.json"], "there is no file nowhere.json"),
        (["--prompt", "x", "--schema", __file__], "cannot be read"),
        (["--prompt", "x", "--top-p", "0"], "top_p=0.0 must be more than 0 and at most 1"),
        (["--prompt", "x", "--bits", "5"], "bits=5 is not supported; use 8 or 4"),
        (["--prompt", "x", "--raw", "--system", "y"], "--system is for conversations"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(folder, capsys, words, said):
    assert re.search(said, refused(capsys, "generate", folder, *words))


def test_a_schema_that_no_text_can_satisfy(folder, capsys, tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"type": "integer", "minimum": 3, "maximum": 2}))
    assert "schema.json: no text can satisfy the schema" in refused(
        capsys, "generate", folder, "--prompt", "x", "--schema", file
    )


def test_a_model_that_is_not_there_and_one_without_a_template(folder, endless, capsys, tmp_path):
    for command in (["generate", "nothing", "--prompt", "x"], ["serve", "nothing"]):
        assert "there is no folder nothing and no model of that name" in refused(capsys, *command)
    tiny_folder(tmp_path, template=None)
    assert "has no chat template" in refused(capsys, "generate", tmp_path, "--prompt", "x", "--chat")
    assert written(capsys, tmp_path, "--prompt", "x", "--max-tokens", 3)
    assert "names no end token" in refused(capsys, "generate", endless, "--prompt", "x", "--regex", "a")


def test_control_c_ends_the_text_with_its_line(endless):
    process = started("generate", endless, "--prompt", "hi")
    shown = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    shown += process.stdout.read()  # not `communicate`, which passes over what was read ahead
    assert len(shown.encode()) < io.DEFAULT_BUFFER_SIZE, "it is shown while it is written"
    assert shown.endswith("\n")
    assert process.stderr.read() == ""


def test_a_reader_that_has_had_enough(endless):
    process = started("generate", endless, "--prompt", "hi")
    process.stdout.read(50)
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert process.stderr.read() == ""


# course serve


def test_serving_until_control_c(endless):
    process = started("serve", endless, "--port", 0)
    try:
        line = process.stdout.readline()
        address = re.fullmatch(r"endless\d answers at (http://127\.0\.0\.1:\d+/v1) \(Ctrl-C ends\)\n", line)[1]
        client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=20)
        (model,) = client.models.list()
        stream = iter(client.completions.create(model=model.id, prompt="hi", max_tokens=100_000, stream=True))
        assert all(next(stream) for _ in range(5))
        ending = threading.Timer(0.3, process.send_signal, [signal.SIGINT])
        ending.start()
        with pytest.raises(openai.APIError, match="the server is being ended"):
            list(stream)
        rest, said = process.communicate(timeout=20)
        assert (process.returncode, rest, said) == (0, "\n", "")
    finally:
        process.kill()


def test_an_address_that_is_taken(folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} cannot be listened at" in refused(capsys, "serve", folder, "--port", port)
    assert "cannot be listened at" in refused(capsys, "serve", folder, "--host", "no.such.host.invalid")


def test_what_is_not_installed_is_named(folder, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "course_lib.infer.server.app", raising=False)
    monkeypatch.delattr("course_lib.infer.server.app", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    said = refused(capsys, "serve", folder)
    assert said == "course: this needs fastapi, which is not installed; install the course with its extra `serve`\n"


def test_a_form_needs_an_extra(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "course_lib.infer.constrained.grammar", raising=False)
    monkeypatch.delattr("course_lib.infer.constrained.grammar", raising=False)
    monkeypatch.setitem(sys.modules, "llguidance", None)
    for words in (["--regex", "a"], ["--schema", tmp_path]):
        said = refused(capsys, "generate", folder, "--prompt", "x", *words)
        needs = "this needs llguidance, which is not installed; install the course with its extra `serve`"
        assert said == f"course: {needs}\n"
    assert written(capsys, folder, "--prompt", "x", "--max-tokens", 3)


def test_help_is_there_at_once(tmp_path):
    code = "import sys; from course_lib.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    for words in (["--help"], ["generate", "--help"], ["serve", "--help"], ["site", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout.endswith("False\n"), "torch takes seconds to import"

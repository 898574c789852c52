"""Text models: streaming against a naive loop and transformers, stop strings, what is refused, and what is opened."""

import dataclasses
import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import BYTES, END, tiny, tiny_folder, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_lib.data.tokenizers import chat
from course_lib.errors import CourseError, GenerationError
from course_lib.infer.constrained.grammar import regex
from course_lib.infer.generation.open_model import open_model
from course_lib.infer.generation.sampling import GREEDY, Sampling
from course_lib.infer.generation.stream import StopStrings, TextStream
from course_lib.infer.generation.text_generator import ContextLengthExceeded, TextGenerator
from course_lib.infer.quantization.quantize import quantize
from course_lib.interop import save_pretrained
from course_lib.models import Bert, BertConfig

CONVERSATION = [{"role": "user", "content": "hi there"}]


@pytest.fixture(scope="module")
def model():
    return tiny()


def read(stream):
    text = "".join(stream)
    return text, stream.finish_reason


# Stop strings


def by_character(text, stops):
    """What may be shown: letters are looked at one by one, and the text ends where a stop string first does."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("ab\n", max_size=4), max_size=8),
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
)
def test_stop_strings_end_a_text_wherever_its_pieces_begin(pieces, stops):
    wanted, wanted_stop = by_character("".join(pieces), stops)
    strings, shown, stopped = StopStrings(stops), "", False
    for piece in pieces:
        sure, stopped = strings.add(piece)
        shown += sure
        assert wanted.startswith(shown)
        if stopped:
            break
        beginnings = {stop[:n] for stop in stops for n in range(1, len(stop))}
        assert strings.held == "" or strings.held in beginnings, "nothing is held back without need"
    assert stopped == wanted_stop
    assert shown + ("" if stopped else strings.held) == wanted


# Streams


def scripted(tokens, ids, end=(), stop=()):
    return TextStream(([i] for i in ids), tokens, end, stop, prompt_tokens=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"\xc3", b"\xa9", b"\xf0\x9f", b"\x90", b"\xbf", b"\xff", b"hi \xe4\xbd", b""])))
def test_pieces_are_whole_characters_and_together_the_text(parts):
    stream = scripted(parts, range(len(parts)))
    whole = b"".join(parts).decode("utf-8", "replace")
    shown = ""
    for n, piece in enumerate(stream, 1):
        shown += piece
        so_far = b"".join(parts[:n]).decode("utf-8", "replace")
        # All that is certain is shown: no more than the last character can be missing.
        assert n > len(parts) or so_far.rstrip("\ufffd") == shown.rstrip("\ufffd")
    assert shown == whole
    assert (stream.completion_tokens, stream.prompt_tokens, stream.finish_reason) == (len(parts), 3, "length")


def test_an_end_token_is_counted_and_not_shown():
    stream = scripted([b"a", b"", b"b"], [0, 2, 1, 0], end=[1])
    assert read(stream) == ("ab", "stop")
    assert stream.completion_tokens == 3


def test_a_stop_string_across_tokens_ends_the_steps_too():
    ended = []

    def steps():
        try:
            for i in range(9):
                yield [i % 3]
        finally:
            ended.append(True)

    stream = TextStream(steps(), [b"a", b"b", b"c"], (), ["ca"], 1)
    assert read(stream) == ("ab", "stop")
    assert stream.completion_tokens == 4
    assert ended


def test_half_a_stop_string_at_the_end_is_shown_and_one_that_the_last_bytes_complete_is_not():
    assert read(scripted([b"ab", b"x"], [1, 0], stop=["abc"])) == ("xab", "length")
    assert read(scripted([b"a", b"\xc3"], [0, 1], stop=["\ufffd"])) == ("a", "stop")


def test_a_stream_that_is_closed_ends_its_steps():
    ended = []

    def steps():
        try:
            while True:
                yield [0]
        finally:
            ended.append(True)

    stream = TextStream(steps(), [b"a"], (), (), 1)
    assert next(stream) == "a"
    stream.close()
    assert ended
    assert list(stream) == []


# A model


@torch.no_grad()
def likeliest(model, ids, most):
    """Greedy decoding that reads everything again for each token."""
    written = []
    for _ in range(most):
        token = model(torch.tensor([ids + written]))[0, -1].argmax().item()
        written.append(token)
        if token == END:
            break
    return written


@pytest.mark.parametrize("seed", range(4))
def test_the_text_is_that_of_a_naive_loop(seed):
    model = tiny(seed=seed)
    for prompt in ("hi", CONVERSATION):
        stream = model.stream(prompt, 40, GREEDY)
        text, reason = read(stream)
        written = likeliest(model.model, model.encode(prompt), 40)
        assert stream.completion_tokens == len(written)
        assert text == BYTES.decode([i for i in written if i != END])
        assert reason == ("stop" if written[-1] == END else "length")


def test_a_folder_gives_what_transformers_gives(tmp_path):
    folder = tiny_folder(tmp_path)
    model, theirs, tokenizer = (
        open_model(folder),
        *(c.from_pretrained(folder) for c in (AutoModelForCausalLM, AutoTokenizer)),
    )
    ids = tokenizer.apply_chat_template(CONVERSATION, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    assert model.encode(CONVERSATION) == ids[0].tolist()
    wanted = theirs.generate(ids, max_new_tokens=30, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    stream = model.stream(CONVERSATION, 30, GREEDY)
    assert "".join(stream) == tokenizer.decode(wanted, skip_special_tokens=True)


def test_a_seed_gives_the_same_text_and_none_another(model):
    def text(seed):
        return read(model.stream("hi", 20, Sampling(), seed=seed))

    assert text(3) == text(3)
    assert len({text(seed) for seed in (1, 2, 3, None, None)}) == 5


def test_a_grammar_that_cannot_be_kept_is_said_so(model):
    with pytest.raises(GenerationError, match="could cut off what the text has to become"):
        model.stream("hi", 5, grammar=model.constrain(regex("[a-z]{9}xyz")), stop=["e"])

    class Large:
        def matcher(self):
            return self

        def allowed(self):
            raise GenerationError("the grammar proved too large")

    with pytest.raises(GenerationError, match="the grammar proved too large"):
        list(model.stream("hi", 5, grammar=Large()))


def test_a_stop_string_in_the_text_ends_it_before(model):
    whole, _ = read(model.stream("hi", 30, GREEDY))
    stop = whole[3:6]
    text, reason = read(model.stream("hi", 30, GREEDY, stop=["never", stop]))
    assert (text, reason) == (whole[: whole.index(stop)], "stop")
    assert read(model.stream("hi", 30, GREEDY, stop=["this is never reached"])) == (whole, "length")


def test_a_text_ends_where_the_context_does():
    model = tiny(context=20, end=())
    stream = model.stream("hi" * 6)
    assert stream.prompt_tokens == 6, "hi is one token"
    assert read(stream)[1] == "length"
    assert stream.completion_tokens == 14
    stream = model.stream("hi" * 6, 1000)
    assert (read(stream)[1], stream.completion_tokens) == ("length", 14)


@pytest.mark.parametrize("pattern", [r"\{\"n\": [0-9]{1,3}\}", "(yes|no)", "é{2,3}"])
def test_noise_takes_the_form_of_a_pattern(model, pattern):
    for seed in range(5):
        text, reason = read(model.stream("hi", 40, grammar=model.constrain(regex(pattern)), seed=seed))
        assert re.fullmatch(pattern, text)
        assert reason == "stop"


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        ("", {}, "the prompt is empty"),
        ([], {}, "the prompt is empty"),
        ("a\ud800", {}, "half a surrogate pair"),
        ([{"role": "user", "content": "a\ud800"}], {}, "half a surrogate pair"),
        ([0, 999], {}, r"token 999 of the prompt is none of the 261 of tiny"),
        ([{"role": "user"}], {}, "cannot write these messages"),
        ("hi", {"max_new_tokens": 0}, "max_new_tokens=0 must be at least 1"),
        ("hi", {"stop": ["a", ""]}, "a stop string is empty"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_first_token(model, prompt, options, words):
    with pytest.raises(GenerationError, match=words):
        model.stream(prompt, **options)


@pytest.mark.parametrize("n", [20, 21, 50])
def test_a_prompt_that_fills_the_context_is_refused(n):
    with pytest.raises(ContextLengthExceeded, match=f"the prompt has {n} tokens, and the context of tiny is 20"):
        tiny(context=20).stream("x" * n)
    assert read(tiny(context=20).stream("x" * 19))[1] in ("length", "stop")


def test_what_a_model_has_not_is_asked_for_in_vain():
    with pytest.raises(GenerationError, match="tiny has no chat template"):
        tiny(template=None).stream(CONVERSATION)
    with pytest.raises(GenerationError, match="names no end token"):
        tiny(end=()).constrain(regex("a"))
    with pytest.raises(GenerationError, match="no text of these tokens matches the pattern"):
        tiny().constrain(regex(r"[^\s\S]"))
    with pytest.raises(GenerationError, match="end token 999 is none of the 261"):
        tiny(end=(999,))


# Opening


def test_folders_of_course_train_are_opened_from_above_and_from_within(tmp_path):
    out = tmp_path / "runs" / "gpt-cpu-seed0"
    (out / "model").mkdir(parents=True)
    tiny_folder(out / "model", template=None)
    for path in (out, str(out), out / "model"):
        model = open_model(path)
        assert (model.name, model.chat_template, set(model.end_tokens)) == ("gpt-cpu-seed0", None, {END})
        assert read(model.stream("hi", 5, GREEDY)) == read(tiny().stream("hi", 5, GREEDY))


def change(folder, name, **values):
    file = folder / name
    found = json.loads(file.read_text())
    found.update(values)
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def test_where_end_tokens_and_templates_are_found(tmp_path):
    folder = tiny_folder(tmp_path)
    change(folder, "generation_config.json", eos_token_id=[END, 258])
    assert set(open_model(folder).end_tokens) == {END, 258}
    change(folder, "config.json", eos_token_id=259)
    assert set(open_model(folder).end_tokens) == {END, 258}
    (folder / "generation_config.json").unlink()
    assert set(open_model(folder).end_tokens) == {259}
    change(folder, "config.json", eos_token_id=None)
    change(folder, "tokenizer_config.json", chat_template="older", eos_token={"content": "<|im_end|>"})
    model = open_model(folder)
    assert (set(model.end_tokens), model.chat_template) == ({END}, chat.CHATML)
    assert model.special_tokens == {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}
    (folder / "chat_template.jinja").unlink()
    assert open_model(folder).chat_template == "older"
    several = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    change(folder, "tokenizer_config.json", chat_template=several, eos_token=None)
    assert (open_model(folder).chat_template, set(open_model(folder).end_tokens)) == ("d", set())
    (folder / "tokenizer_config.json").unlink()
    assert (open_model(folder).chat_template, open_model(folder).special_tokens) == (None, {})


def test_a_model_is_sampled_as_it_was_published(tmp_path):
    folder = tiny_folder(tmp_path)
    assert open_model(folder).sampling == Sampling(), "what `course train` writes says nothing of it"
    change(folder, "generation_config.json", temperature=0.3, top_k=5, top_p=0.8)
    assert open_model(folder).sampling == Sampling(), "without do_sample transformers would not sample"
    change(folder, "generation_config.json", do_sample=True)
    model = open_model(folder)
    assert model.sampling == Sampling(0.3, top_k=5, top_p=0.8)
    asked = [read(model.stream("hi", 20, sampling, seed=1)) for sampling in (None, model.sampling, Sampling())]
    assert asked[0] == asked[1] != asked[2]
    change(folder, "generation_config.json", temperature=-1)
    with pytest.raises(GenerationError, match=r"generation_config.json: temperature=-1 must be"):
        open_model(folder)
    assert open_model("smollm2").sampling == Sampling(0.2, top_p=0.9)


def test_texts_keep_their_length_whatever_the_file_says_of_batches(tmp_path):
    folder = tiny_folder(tmp_path)
    tokenizer = open_model(folder).tokenizer
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert open_model(folder).encode("hi there") == tiny().encode("hi there")


def test_special_tokens_reach_the_template():
    template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    model = dataclasses.replace(tiny(), chat_template=template, special_tokens={"bos_token": "<|im_start|>"})
    assert model.encode([{"role": "user", "content": "a"}]) == [BYTES.special_ids["<|im_start|>"], ord("a")]


def test_weights_are_rounded_when_asked_for(tmp_path):
    folder = tiny_folder(tmp_path)
    rounded = quantize(tiny_model(), 8)
    wanted = read(dataclasses.replace(tiny(), model=rounded).stream("hi", 20, GREEDY))
    assert read(open_model(folder, bits=8).stream("hi", 20, GREEDY)) == wanted
    with pytest.raises(CourseError, match="bits=5 is not supported; use 8 or 4"):
        open_model(folder, bits=5)


def broken(folder, how):
    match how:
        case "no model":
            (folder / "model.safetensors").unlink()
        case "cut short":
            (folder / "model.safetensors").write_bytes(b"123")
        case "unfinished":
            (folder / "config.json").unlink()
            (folder / "recipe.json").write_text("{}")
        case "small part":
            (folder / "config.json").rename(folder / "adapter_config.json")
        case "nothing":
            (folder / "config.json").unlink()
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "older tokenizer":
            (folder / "tokenizer.json").unlink()
            (folder / "vocab.json").write_text("{}")
        case "damaged tokenizer":
            (folder / "tokenizer.json").write_text("{")
        case "list":
            (folder / "generation_config.json").write_text("[]")
        case "damaged settings":
            (folder / "generation_config.json").write_text("{")
        case "larger tokenizer":
            tokenizer = open_model(folder).tokenizer
            tokenizer.add_tokens(["one more"])
            tokenizer.save(str(folder / "tokenizer.json"))
        case "bert":
            save_pretrained(Bert(BertConfig(20, context=8, d_model=8, n_layers=1, n_heads=1)), folder)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no model", "has no model.safetensors"),
        ("cut short", "damaged or cut short"),
        ("unfinished", "a run that is not finished; go on with `course train`, --resume"),
        ("small part", "holds what a model was tuned with, and no model; merge the two"),
        ("nothing", "is no folder with a config.json"),
        ("no tokenizer", "has no tokenizer.json, so .*; copy the tokenizer of the model there"),
        ("older tokenizer", r"has no tokenizer.json, so .*AutoTokenizer.from_pretrained\("),
        ("damaged tokenizer", "tokenizer.json is damaged"),
        ("list", "generation_config.json holds no settings"),
        ("damaged settings", "generation_config.json cannot be read"),
        ("larger tokenizer", "vocab_size=261 is too small: the tokenizer has 262 tokens"),
        ("bert", "holds a Bert, which does not continue texts; pass the folder of a decoder"),
    ],
)
def test_a_folder_that_cannot_be_opened_says_why(tmp_path, how, words):
    broken(tiny_folder(tmp_path), how)
    with pytest.raises(CourseError, match=words):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "no/such/place",
            "there is no folder no/such/place and no model of that name; .*`course train`.*: smollm2, smollm2-135m",
        ),
        ("smollm3", "there is no folder smollm3 .* with a name are: smollm2"),
        (__file__, "is a file; pass the folder"),
        ("minilm-l6-v2", "is no model that writes text"),
        ("wikipedia-leads", "is no model that writes text; .* one of: smollm2"),
    ],
)
def test_a_name_that_is_none_says_which_there_are(name, words):
    with pytest.raises(GenerationError, match=words):
        open_model(name)


def test_a_tokenizer_of_words_is_refused():
    from course_lib.data.tokenizers.pretrained import minilm_tokenizer

    with pytest.raises(GenerationError, match="odd: a tokenizer with the decoder WordPiece is not supported"):
        TextGenerator(tiny_model(), minilm_tokenizer(), name="odd")


def test_a_real_model_answers_and_keeps_to_a_form():
    model = open_model("smollm2")
    assert read(model.stream([{"role": "user", "content": "What is the capital of France?"}], 12, GREEDY)) == (
        "The capital of France is Paris.",
        "stop",
    )
    asked = [{"role": "user", "content": "What is the capital of France? Answer in JSON."}]
    answer, reason = read(
        model.stream(asked, 20, GREEDY, grammar=model.constrain(regex(r'\{"capital": "[A-Z][a-z]{1,9}"\}')))
    )
    assert (json.loads(answer), reason) == ({"capital": "Paris"}, "stop")

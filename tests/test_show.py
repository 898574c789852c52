"""Figures, tables and maps: legible in both themes, described once, small, and refusing what does not fit."""

import base64
import json
import re
from fractions import Fraction
from html.parser import HTMLParser
from io import BytesIO, TextIOWrapper

import nbformat
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from nbclient import NotebookClient
from PIL import Image
from show_pages import DARK_PAGES, contrast, mirrored

from course_lib import show
from course_lib.show import picture, tables
from course_lib.show.charts import spread
from course_lib.show.rewards import reward_plane
from course_lib.show.theme import INK, PALE, PALE_DIVERGING, PALETTE
from course_lib.tables import cell_text

TEXT = 4.5  # WCAG 2.2, 1.4.3, level AA
GRAPHIC = 3.0  # 1.4.11


@pytest.fixture
def shown(monkeypatch):
    """What was handed to the front end: a list of (bundle, metadata)."""
    outputs = []
    for module in (picture, tables):
        monkeypatch.setattr(
            module, "display_bundle", lambda bundle, metadata=None: outputs.append((bundle, metadata or {}))
        )
    return outputs


def some_figure():
    return show.curves({"a": [1.0, 2.0, 4.0]}, xlabel="x", ylabel="y", chance=1.5)


def pixels(fig):
    return np.asarray(Image.open(BytesIO(picture.render(fig))).convert("RGBA")).astype(int)


# Colours


def test_contrast_is_the_wcag_ratio():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert contrast("#ffffff", "#767676") == contrast("#767676", "#ffffff")


@pytest.mark.parametrize("colour", [INK, *PALETTE])
def test_text_and_lines_are_legible_on_white_and_on_dark(colour):
    assert contrast(colour, "#ffffff") >= TEXT
    for page in DARK_PAGES:
        assert contrast(mirrored(colour), page) >= TEXT
    assert contrast(colour, "#14181d") >= GRAPHIC  # a dark page that does not apply the filter


@pytest.mark.parametrize("ramp", [PALE, PALE_DIVERGING], ids=lambda ramp: ramp.name)
def test_numbers_in_cells_are_legible_in_both_themes(ramp):
    for level in np.linspace(0, 1, 101):
        cell = ramp(level)
        assert contrast("#000000", cell) >= TEXT
        assert contrast(mirrored("#000000"), mirrored(cell)) >= TEXT


def test_the_first_colours_differ_for_colour_blind_readers():
    # Machado, Oliveira and Fernandes 2009, severity 1.
    kinds = {
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ],
    }
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE[:4]])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in kinds.values():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        apart = np.abs(seen[:, None] - seen[None]).max(-1) + np.eye(4)
        assert apart.min() > 0.12


# Figures


@pytest.mark.parametrize("alt", ["", "   ", "\n", None])
def test_a_figure_without_a_description_is_refused(alt):
    with pytest.raises(ValueError, match="description"):
        show.figure(show.axes()[0], alt=alt)


@pytest.mark.parametrize(
    ("drawn", "alt"),
    [
        (
            lambda: show.bars(
                {"a": 0.5, "b": (0.125, 0.1, 0.2)}, xlabel="accuracy", controls=["b"], chance=0.1, fmt=".1%"
            ),
            "Bars of accuracy. a 50.0%; b (control) 12.5%; dashed line, chance: 10.0%.",
        ),
        (
            lambda: show.curves({"a": [3, 1, 2, 2.5], "b": [[1, 2], [3, 4]]}, xlabel="step", ylabel="loss", chance=0.5),
            "Curves of loss over step. a: from 3 at 0 to 2.5 at 3, lowest 1 at 1; b: from 2 at 0 to 3 at 1; "
            "dashed line, chance: 0.5.",
        ),
        (
            lambda: show.refusal_plane({"a coin": (0.5, 0.5)}, [[0, 0], [0, 0.4], [0.6, 1], [1, 1]]),
            "False refusals across, refusals upwards. The frontier begins at 0 and 0.40; from 0.60 on it is 1. "
            "a coin: 0.50 and 0.50.",
        ),
        (
            lambda: reward_plane({"exact": [(0, 1), (1, 3)]}, {"PPO": [(0.5, 2)]}, {"best": (1, 3)}),
            "Mean reward over the KL from the reference, in nats. exact: from 1.00 at 0.00 nats to 3.00 at 1.00, its "
            "highest point 3.00. PPO: 2.00 at 0.50 nats. best: 3.00 at 1.00 nats.",
        ),
        (
            lambda: show.attention_map([[0.1, 0.9]], ["it"], ["the", "cat"]),
            "An attention map: it looks most at cat (90%).",
        ),
        (
            lambda: show.attention_grid({"own": np.eye(4)}, list("abcd")),
            "Attention maps of 4 queries. own: on average 100% on the token itself, 0% on the one before, "
            "0% on the first, and none on later tokens.",
        ),
        (
            lambda: show.heatmap([[1.0, 2.0], [np.nan, 4.0]], label="loss"),
            "A table of loss: 2 rows (layer) by 2 columns (head), highest 4 at 1 and 1, lowest 1 at 0 and 0.",
        ),
    ],
    ids=["bars", "curves", "refusals", "rewards", "map", "grid", "heatmap"],
)
def test_what_a_function_of_the_room_drew_describes_itself_from_the_data(drawn, alt, shown):
    show.figure(drawn())
    assert shown[0][1]["image/png"]["alt"] == alt
    show.figure(drawn(), alt="Another.")
    assert shown[1][1]["image/png"]["alt"] == "Another."


def test_a_key_lets_a_page_draw_it_again(shown):
    show.figure(some_figure())
    assert "course_shown" not in shown[0][1]
    show.figure(show.curves({"a": np.arange(1000.0)}, xlabel="x", ylabel="y"), key="a.curve")
    drawn = shown[1][1]["course_shown"]
    json.dumps(drawn, allow_nan=False)
    assert (drawn["key"], drawn["kind"], drawn["chance"]) == ("a.curve", "curves", None)
    (line,) = drawn["series"]
    assert (len(line["x"]), line["x"][0], line["y"][-1]) == (200, 0, 999)
    show.table([["one", 0.5]], ["name", "share"], fmt=".0%", key="a.table")
    assert shown[2][1]["course_shown"] == {
        "key": "a.table",
        "kind": "table",
        "columns": ["name", "share"],
        "rows": [["one", "50%"]],
        "align": ["left", "right"],
        "caption": "",
    }
    with pytest.raises(ValueError, match="words joined by dots"):
        show.figure(some_figure(), key="Curve")


def test_a_figure_is_one_picture_described_once_in_each_form(shown):
    show.figure(some_figure(), alt='Loss "falls"  & rises', caption="A caption < here")
    ((bundle, metadata),) = shown
    html = bundle["text/html"]
    assert html.count("<img") == 1
    assert html.count('alt="Loss &quot;falls&quot; &amp; rises"') == 1
    assert html.count(" alt=") == 1
    assert "aria-label" not in html
    assert "title=" not in html
    assert "<figcaption>A caption &lt; here</figcaption>" in html
    assert metadata["image/png"]["alt"] == 'Loss "falls" & rises'
    assert bundle["image/png"] in html
    assert bundle["text/plain"] == '[Figure: Loss "falls" & rises]\nA caption < here'
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    width, height = Image.open(BytesIO(base64.b64decode(bundle["image/png"]))).size
    assert metadata["image/png"]["width"] == round(width / 2)
    assert f'width="{round(width / 2)}" height="{round(height / 2)}"' in html


def test_a_live_figure_is_one_output_that_shows_the_last_drawing():
    cell = """
from course_lib import show
live = show.LiveFigure()
for n in (2, 3, 4):
    live.show(show.curves({"loss": list(range(n))}, xlabel="step", ylabel="loss"), key="a.loss", caption=f"{n}")
live = show.LiveFigure()  # as when the cell is run again
live.show(show.curves({"loss": [5, 6]}, xlabel="step", ylabel="loss"))
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    first, second = notebook.cells[0].outputs
    assert first.metadata["course_shown"]["caption"] == "4"
    assert "from 0 at 0 to 3 at 3" in first.data["text/plain"]
    assert "from 5 at 0 to 6 at 1" in second.data["text/plain"]


def test_the_page_filter_is_the_one_whose_contrast_is_tested(shown):
    show.figure(some_figure(), alt="a")
    assert "filter: invert(1) hue-rotate(180deg) brightness(1.2) !important" in shown[0][0]["text/html"]
    assert mirrored("#ffffff") == "#000000"
    assert mirrored("#000000") == "#ffffff"


def test_a_figure_says_when_its_colours_are_to_stay(shown):
    for asked in ({}, {"true_colours": True}):
        show.figure(some_figure(), **asked)
    mirrored_one, kept = (re.search('<figure class="(.*?)">', bundle["text/html"])[1] for bundle, _ in shown)
    assert (mirrored_one, kept) == ("course-figure", "course-figure true-colours")
    assert shown[0][0]["image/png"] == shown[1][0]["image/png"]  # one picture for both themes, as always


def test_a_picture_is_transparent_and_the_same_every_time():
    first, second = picture.render(some_figure()), picture.render(some_figure())
    assert first == second
    rgba = pixels(some_figure())
    assert (rgba[..., 3] == 0).mean() > 0.5
    assert rgba[0, 0, 3] == 0


def test_the_ink_in_the_picture_keeps_its_exact_colour():
    rgba = pixels(some_figure())
    solid = {tuple(p) for p in rgba[rgba[..., 3] == 255][:, :3]}
    for colour in (INK, PALETTE[0]):
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in solid


def test_a_plain_matplotlib_figure_loses_its_black(shown):
    fig, ax = pyplot.subplots()
    ax.plot([1, 2], [3, 4])
    ax.set(xlabel="x", title="black by default")
    show.figure(fig, alt="a line")
    rgba = np.asarray(Image.open(BytesIO(base64.b64decode(shown[0][0]["image/png"]))).convert("RGBA")).astype(int)
    visible = rgba[rgba[..., 3] > 100][:, :3]
    assert visible.min(axis=1).size
    assert (visible.max(axis=1) >= 0x60).all()
    assert not pyplot.fignum_exists(fig.number)  # closed, so the notebook does not show it twice


def test_every_figure_is_small():
    rng = np.random.default_rng(0)
    assert len(picture.render(show.heatmap(rng.random((30, 9))))) < 150_000
    assert len(picture.render(some_figure())) < 50_000


def test_in_a_plain_script_the_description_is_printed(capsys):
    show.figure(some_figure(), alt="Loss falls.")
    assert capsys.readouterr().out == "[Figure: Loss falls.]\n"


def test_an_output_that_lacks_a_sign_says_the_rest(monkeypatch):
    out = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(out, encoding="cp1252", write_through=True))
    show.table([["a␣b", None]], ["token", "loss"], caption="café")
    lines = out.getvalue().decode("cp1252").splitlines()
    assert lines[0] == "café"
    assert lines[-1].split() == ["a?b", "–"]


# Charts and maps


def test_curves_take_lists_arrays_and_tensors_with_gradients():
    ys = torch.linspace(0, 1, 5, requires_grad=True)
    fig = show.curves({"list": [0, 1], "tensor": ys, "seeds": ([1, 2], np.ones((3, 2)))}, xlabel="x", ylabel="y")
    ax = fig.axes[0]
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 5, 2]
    assert {text.get_text() for text in ax.texts} == {"list", "tensor", "seeds"}
    assert len({str(line.get_linestyle()) + line.get_marker() for line in ax.lines}) == 3  # colour is never alone


def test_chance_is_drawn_and_named():
    fig = show.curves({"a": [0.1, 0.9]}, xlabel="x", ylabel="y", chance=1 / 16, chance_label="guessing")
    assert "guessing 0.0625" in [text.get_text() for text in fig.axes[0].texts]
    fig = show.bars({"a": 0.9, "b": 0.1}, xlabel="accuracy", controls=["b"], chance=1 / 16)
    assert "chance 0.0625" in [text.get_text() for text in fig.axes[0].texts]
    other = show.bars({"a": 0.9, "b": 0.1}, xlabel="accuracy", controls=["b"], role="rival")
    assert [label.get_text() for label in other.axes[0].get_yticklabels()] == ["a", "b (rival)"]
    assert "b (control)" in [label.get_text() for label in fig.axes[0].get_yticklabels()]


def test_a_number_beside_a_bar_is_not_crossed_by_the_chance_line_and_zero_has_no_minus():
    fig = show.bars({"a": 0.9, "b": 0.06, "c": -0.001}, xlabel="share", chance=0.125, fmt="+.2f")
    fig.draw_without_rendering()
    ax = fig.axes[0]
    line, _ = ax.transData.transform((0.125, 0))
    numbers = {text.get_text(): text.get_window_extent() for text in ax.texts[:3]}
    assert set(numbers) == {"+0.90", "+0.06", "+0.00"}
    assert not any(box.x0 < line < box.x1 for box in numbers.values())
    assert numbers["+0.06"].x0 > line


def named_in(fig):
    """What a chart's labels say, and where they point to, in shares of the axes, once it is drawn."""
    assert Image.open(BytesIO(picture.render(fig))).size == pytest.approx((1280, 720), abs=200)  # no label far outside
    return {text.get_text(): text.xy for text in fig.axes[0].texts}


@pytest.mark.parametrize("last", [np.nan, np.inf, -np.inf])
def test_a_line_that_breaks_off_is_named_where_it_does(last):
    broken = named_in(show.curves({"a": [1, 2, last], "b": [1, 2, 3]}, xlabel="x", ylabel="y"))
    whole = named_in(show.curves({"a": ([0, 1], [1, 2]), "b": [1, 2, 3]}, xlabel="x", ylabel="y"))
    assert broken["a"] == pytest.approx(whole["a"])
    nothing = named_in(show.curves({"a": [last, last], "b": [1, 2]}, xlabel="x", ylabel="y"))
    assert nothing["a"] == (1.0, 0.0)


def test_no_label_leaves_the_picture():
    steep = named_in(show.curves({"a": [1, 2, 100], "b": [2, 3, -9]}, xlabel="x", ylabel="y", ylim=(0, 5)))
    assert steep["a"][1] == 1.0
    assert steep["b"][1] == 0.0
    falling = {"a": [1, 0.1, 0], "b": [2, 3, 4]}
    assert 0 < named_in(show.curves(falling, xlabel="x", ylabel="y", yscale="log"))["a"][1] < 0.2
    assert named_in(show.curves(falling, xlabel="x", ylabel="y", yscale="log", chance=0.0))["chance 0"] == (1.0, 0.0)


def test_labels_are_moved_apart_and_no_further():
    assert spread([0.1, 0.9], 0.1) == [0.1, 0.9]
    moved = spread([0.5, 0.51, 0.52], 0.1)
    assert np.diff(moved) == pytest.approx([0.1, 0.1])
    assert np.mean(moved) == pytest.approx(0.51)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: show.curves({}, xlabel="x", ylabel="y"),
        lambda: show.curves({"a": ([1, 2], [1, 2, 3])}, xlabel="x", ylabel="y"),
        lambda: show.curves({"a": (0.1, 0.2)}, xlabel="x", ylabel="y"),
        lambda: show.bars({"a": 1}, xlabel="x", controls=["b"]),
        lambda: show.attention_map(np.ones((2, 3)), ["a", "b"]),
        lambda: show.attention_map(np.ones((4, 2, 2)), ["a", "b"]),
        lambda: show.attention_grid({}, ["a"]),
        lambda: show.heatmap(np.ones(3)),
        lambda: show.heatmap(np.ones((3, 2)), rows=["a", "b"]),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(wrong):
    with pytest.raises(ValueError, match=r"\(\)|Weights of shape"):
        wrong()


def test_the_future_stays_blank_only_where_nobody_looks():
    causal = np.tril(np.ones((3, 3))) / np.array([[1], [2], [3]])
    cells = show.attention_map(causal, list("abc")).axes[0].images[0].get_array()
    assert cells.mask.sum() == 3
    cells = show.attention_map(causal.T, list("abc")).axes[0].images[0].get_array()
    assert not np.ma.getmaskarray(cells).any()


def test_tokens_of_white_space_and_dollars_can_be_read():
    fig = show.attention_map(np.eye(4), [" ", "\n", "$x$", "word"])
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["␣", "↵", r"\$x\$", "word"]
    picture.render(fig)


def test_a_heatmap_writes_its_numbers_and_leaves_missing_cells_blank():
    fig = show.heatmap([[0.25, float("nan")], [1.0, 0.5]], label="share")
    assert [text.get_text() for text in fig.axes[0].texts] == ["0.25", "1.00", "0.50"]
    whole = show.heatmap(np.eye(2))  # a table has no future
    assert [text.get_text() for text in whole.axes[0].texts] == ["1.00", "0.00", "0.00", "1.00"]
    assert not np.ma.getmaskarray(whole.axes[0].images[0].get_array()).any()
    assert len(show.attention_grid({"one": np.eye(3), "two": np.eye(3)}, list("abc")).axes) == 3  # two maps, one scale


def test_masks_are_drawn_whole_and_need_no_scale():
    fig = show.attention_grid({"decoder": np.tri(3, dtype=bool), "encoder": np.ones((3, 3), dtype=bool)}, list("abc"))
    assert len(fig.axes) == 2
    assert not any(np.ma.getmaskarray(ax.images[0].get_array()).any() for ax in fig.axes)


# Tables


class Structure(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_a_table_has_a_caption_and_scoped_headings(shown):
    show.table(
        [["RoPE", 1.687, 1234567], ["<b>", None, 12]], ["encoding", "loss", "parameters"], caption="Losses & more"
    )
    html, text = shown[0][0]["text/html"], shown[0][0]["text/plain"]
    tags = Structure(html).tags
    headings = [attrs["scope"] for tag, attrs in tags if tag == "th"]
    assert headings == ["col"] * 3 + ["row"] * 2
    assert [tag for tag, _ in tags].count("caption") == 1
    assert "Losses &amp; more" in html
    assert "&lt;b&gt;" in html
    assert "1.69" in html
    assert "1,234,567" in html
    assert [attrs["class"] for tag, attrs in tags if tag == "td"] == ["right"] * 4
    lines = text.splitlines()
    assert lines[0] == "Losses & more"
    assert len({len(line) for line in lines[3:]}) == 1  # the columns line up


def test_a_table_takes_formats(shown):
    show.table([[1, 0.125], [2, 0.5]], ["head", "share"], fmt={"share": ".1%"})
    assert re.findall(r"<td[^>]*>([^<]*)<", shown[0][0]["text/html"]) == ["12.5%", "50.0%"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3, "3"),
        (12345, "12,345"),
        (0.1234, "0.123"),
        (1.2345, "1.23"),
        (123.45, "123.5"),
        (1e-5, "1.00e-05"),
        (0.0, "0.000"),
        (float("nan"), "–"),
        (None, "–"),
        (True, "True"),
        (np.bool_(True), "True"),
        (torch.tensor(False), "False"),
        (Fraction(1, 3), "0.333"),
        (torch.tensor(0.5), "0.500"),
        (np.float32(2.5), "2.50"),
        (np.int64(7), "7"),
        ("word", "word"),
    ],
)
def test_numbers_are_said_sensibly(value, text):
    assert cell_text(value) == text


def test_truth_values_are_aligned_as_text(shown):
    show.table([["a", np.bool_(True)], ["b", torch.tensor(False)]], ["name", "right"])
    assert 'class="left">True</td>' in shown[0][0]["text/html"]


def test_a_ragged_table_is_refused():
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2 columns"):
        show.table([[1, 2], [3]], ["a", "b"])

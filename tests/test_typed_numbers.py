"""A number that a lab measured comes to a page by its key, and stands in a table of the lab. Nobody types it.

What looks typed is found by a rule. A paragraph tells of runs if it cites a {number} or speaks of runs, seeds or
trials. In such a paragraph no sentence may hold an amount: a decimal, a percentage, "about a fifth", "nearly twice",
"four in ten". Nor may any sentence of any paragraph say "eight of ten" or "the sharpest of the ten".

Free are sentences that quote somebody (a citation, or a year) and those that count runs with {number}`key runs > 80%`,
which have to name the bound. Digits beside a {number} are free as well: they are what it was measured at. A decimal
such as 0.003 is a learning rate, unless it is told what happened there ("at 0.004 all learn"). A quiz invents its
cases. Whatever else was chosen or computed is set as a formula or as code: $0.03$, `0.03`.
"""

import re

import nbformat
import pytest
from site_project import ROOT
from test_site_pages import paragraphs

PAGES = sorted([*ROOT.glob("book/ch*.md"), *ROOT.glob("book/capstone_*.md"), ROOT / "book/primer.md"])
LABS = sorted(ROOT.glob("labs/*.ipynb"))

MANY = r"(?:two|three|four|five|six|seven|eight|nine|ten|\d+)"
PART = r"(?:half|halves|thirds?|quarters?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?)"
ABOUT = r"(?:about|around|roughly|nearly|almost|over|some|only|just|than|at most)"
DIGITS = re.compile(r"\d[\d.,]*\s?%|(?<![\w.])(?!0\.0+[1-9]\b(?! (?:all|both|none|most) (?:learn|fail)))\d+\.\d+")
WORDS = re.compile(
    rf"\bper cent\b|\b{MANY} {PART}\b|\b{MANY} (?:in|out of) ten\b"
    rf"|\b(?!than half\b){ABOUT} (?:an? |one )?{PART}\b|\b{ABOUT} (?:twice|{MANY} times)\b"
)
OF_TEN = re.compile(rf"\b(?:one|{MANY}) of (?:the |our )?ten\b|\b(?:best|\w+est) of (?:the )?ten\b")
OF_RUNS = re.compile(r"\{number\}|\b(?:runs?|seeds?|trials?)\b")
QUOTES = re.compile(r"\{cite|\bet al\.|\breports?\b|[( ](?:19|20)\d\d\)|\bcolleagues\b")
END = re.compile(r"(?<=[.!?:;])[)*\"]*\s+(?=[A-Z*\"(])")
QUIZ = re.compile(r"(?ms)^(:{3,})\{quiz\}.*?^\1$")
OPTION = re.compile(r"(?m)^\s*(?:\* [^\n|]*\||\([ x]\) ).*$")  # of a prediction


def typed(paragraph):
    """The sentences of a paragraph that hold an amount which somebody seems to have measured and then typed."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "formula", paragraph, flags=re.DOTALL)
    text = re.sub(r"\{number\}`\S+ runs [^`]*`", "{count}", text)
    text = re.sub(r"(?<!\})`[^`]*`", "code", re.sub(r"(\{\w+)(:\w+)?\}`[^`]*`", r"\1}", text))
    found = []
    for sentence in END.split(text):
        if QUOTES.search(sentence) or "{count}" in sentence:
            continue
        digits = "{number}" not in sentence and DIGITS.search(sentence)
        if OF_TEN.search(sentence) or (OF_RUNS.search(paragraph) and (digits or WORDS.search(sentence))):
            found.append(sentence)
    return found


def page(path):
    text = OPTION.sub("", QUIZ.sub("", path.read_text(encoding="utf8")))
    return paragraphs(text.replace("} For the expert", "} For all"))  # what is folded counts, too


def lab(path):
    cells = nbformat.read(path, as_version=4).cells
    return [part for cell in cells if cell.cell_type == "markdown" for part in paragraphs(cell.source)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_types_no_measured_number(path):
    assert [sentence for part in page(path) for sentence in typed(part)] == []


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_types_no_measured_number(path):
    assert [sentence for part in lab(path) for sentence in typed(part)] == []


TIMES = re.compile(rf"\b{MANY} (?:CPU-)?(?:seconds?|minutes?|hours?) (?:of computing|on an? (?:[A-Z]\d|GPU))")


@pytest.mark.parametrize("path", [*PAGES, ROOT / "book" / "index.md", ROOT / "book" / "start.md"], ids=lambda p: p.stem)
def test_a_page_types_no_time_that_a_build_or_an_estimate_tells(path):
    """The page of costs has what the labs took, and `course train --estimate` what a GPU would need."""
    assert not TIMES.search(path.read_text(encoding="utf8"))


def test_a_number_is_cited_in_the_same_way_on_all_pages():
    """A page may show the run of this build beside the mean of ten; another page then cites the mean."""
    cited = {}  # by key: whether each page that cites it has the mean
    for path in ROOT.glob("book/*.md"):
        for key, what in re.findall(r"\{number\}`(\S+)(?: (mean)\b)?[^`]*`", path.read_text(encoding="utf8")):
            pages = cited.setdefault(key, {})
            pages[path.stem] = pages.get(path.stem, False) or bool(what)
    assert [(key, pages) for key, pages in cited.items() if len(set(pages.values())) > 1] == []


FOUND = [  # each of these stood on a page or in a lab
    "Then, in this run, the sharpest of the ten, the rise from 20% to 80% takes {number}`emergence.rise .0%`.",
    "On average over ten runs it takes {number}`emergence.rise mean .0%`, and about a fifth of the training at most.",
    "Its height predicts the exact match too: on one run it promised nearly twice what was measured.",
    "With one norm {number}`layers.middle.one-norm runs > 2.08` fail, and at half of it {number}`a.b runs > 2.08`. "
    "At 0.004 all learn: one norm narrows the range of rates.",
    "On the Bible the base has {number}`peft.base.b .2f` nats. Each method trains about as many parameters (BitFit "
    "1.4%; the network that makes a prefix, 21%), at the best of four to six learning rates of its own.",
    "Another seed draws another result: on eight of ten a third or more of the new words are refused even then.",
    "Compare each arm with its own control, on this run. Fresh pairs bring DPO from about 0.7 to 0.1 on both.",
    "In a trial of 100 steps with other rates, a hundred examples never came above 0.14; a thousand came to 0.30.",
    "(In a trial with four times as many comparisons both came to 0.71.)",
    "This run, the best of ten for width 16. *Without order*: the most to be had without looking up.",
    "On this page's seed about a quarter of the refusals is left.",
    "On this run the plain model finishes every answer that was begun, and this one breaks off four in ten.",
    "with another seed the first line is 84% and the second 53%",
]
FREE = [
    "A blind guess costs 2.77 nats. So they agree in 62.5% of the cases, and about a third are equal.",
    "Width 64 was within 0.1 of its line on {number}`emergence.ladder-surprise runs < 0.1` runs.",
    "At 0.03 the loss is {number}`layers.large.everything mean .2f` (95% interval {number}`a.b interval .2f`).",
    "{cite:t}`ouyang2022` report 72.6%. On our runs it is {number}`reward.people .0%`.",
    "Röttger et al. (2023) saw it on 59.6% of seeds. All runs had the rate $0.03$, or `0.03`.",
    "It was so on each of ten runs.",
]


@pytest.mark.parametrize("paragraph", FOUND)
def test_a_typed_number_is_found(paragraph):
    assert typed(paragraph)


@pytest.mark.parametrize("paragraph", FREE)
def test_what_was_computed_chosen_or_quoted_is_free(paragraph):
    assert typed(paragraph) == []

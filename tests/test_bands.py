"""Every number that a page cites is judged, or is named as descriptive: nothing that a page says hangs on it.

A number is judged by its band, by a band of its lead over its control (which judges the control too), or by one of its
mean over the seeds. A number of a committed run, `cpu:key`, needs none: it is the same for everybody.
"""

import re

import pytest
from site_project import ROOT

from course_lib.files import read_json
from course_lib.measure import bands

TABLES = sorted((ROOT / "course_lib" / "measure" / "expected").glob("*.toml"))
NUMBERS = {
    key: number
    for file in (ROOT / "results" / "replications").glob("*.json")
    for key, number in read_json(file)["numbers"].items()
}
COMMITTED = ("cpu:", "hour:", "gpu:")

ROLE = re.compile(r"\{number\}`\s*([^\s`]+)(?:\s+less\s+([^\s`]+))?[^`]*`")
OPTION = re.compile(r"(?m)^:(?:bar|control|chance):\s*(.*)$")  # of a prediction: numbers parted by semicolons
ITEM = re.compile(r"(?m)^\*\s+[^|\n]+\|\s*(\S+).*$")  # of a prediction that asks for an order


def cited(text):
    """The keys of all numbers that a page cites, in prose and in predictions."""
    found = [key for keys in ROLE.findall(text) for key in keys]
    found += [part.split()[0] for options in OPTION.findall(text) for part in options.split(";") if part.strip()]
    found += ITEM.findall(text)
    return {key for key in found if key and not re.fullmatch(r"-?[\d.]+%?", key) and not key.startswith(COMMITTED)}


def judged(prefix):
    """The keys of a table that have a band, a lead, a mean with a band, or are what a lead is over."""
    leads = bands.leads(prefix).keys()
    controls = {NUMBERS[key]["control"] for key in leads if key in NUMBERS}
    return bands.table(prefix).keys() | leads | bands.means(prefix).keys() | controls


PAGES = {file.stem: cited(file.read_text(encoding="utf8")) for file in sorted((ROOT / "book").glob("*.md"))}
CITED = set().union(*PAGES.values())


@pytest.mark.parametrize("page", [page for page, keys in PAGES.items() if keys])
def test_every_cited_number_is_judged_or_descriptive(page):
    told = []
    for key in sorted(PAGES[page]):
        prefix = key.partition(".")[0]
        if key not in judged(prefix) | bands.descriptive(prefix).keys():
            told.append(
                f"{key}, which book/{page}.md cites, is not judged. If a sentence leans on it, give it a band from "
                f"which the sentence follows, in course_lib/measure/expected/{prefix}.toml (or one of its lead, or of "
                "its mean); if none does, say under [descriptive] there what it is."
            )
    assert not told, "\n".join(told)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_what_is_descriptive_is_cited_says_what_it_is_and_is_not_judged(path):
    for key, what in bands.descriptive(path.stem).items():
        assert key in CITED, f"no page cites {key}: take it out of [descriptive]"
        assert key not in judged(path.stem), f"{key} is judged by a band too: take it out of [descriptive]"
        assert isinstance(what, str), f"say in words what {key} is"
        assert len(what.split()) > 2, f"say in words what {key} is"


def test_all_ways_to_cite_a_number_are_known():
    text = """
{number}`a.one` and {number}`a.two mean .1%`, {number}`a.three less a.four interval .1%`, {number}`cpu:a.committed`

:bar: a.five .0% = five
:control: a.six mean .2f = six; a.seven = seven
:chance: 14% = a guess

* eight | a.eight .2f
"""
    assert cited(text) == {f"a.{name}" for name in ("one", "two", "three", "four", "five", "six", "seven", "eight")}

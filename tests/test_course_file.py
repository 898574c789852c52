"""`course.toml`: each key may be left out, and a mistake in it is a sentence that names the line."""

import pytest

from course_lib.course_file import Course, read_course
from course_lib.errors import CourseError
from course_lib.site.paths import Project


def read(folder, text):
    (folder / "course.toml").write_text(text, encoding="utf8")
    return read_course(folder)


def test_all_of_it_is_optional(tmp_path):
    assert read_course(tmp_path) == Course()
    assert read(tmp_path, "# nothing yet\n") == Course()
    text = 'name = "Modelli"\nauthors = ["Ada", "Émilie"]\nchapters = ["primer", "ch01"]\nhints = 1\n'
    assert read(tmp_path, text) == Course("Modelli", ("Ada", "Émilie"), ("primer", "ch01"), 1)
    text = 'late_penalty = "20%"\n[points]\nsoftmax = 3\n[deadlines]\nch01_heads = 2026-12-01T23:59:00+01:00\n'
    due = {"ch01_heads": "2026-12-01 23:59:00+01:00"}
    assert read(tmp_path, text) == Course(late_penalty="20%", points={"softmax": 3}, deadlines=due)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "x"\nautors = ["Ada"]', "line 2: there is no key `autors`; did you mean `authors`?"),
        ("[grades]\nsoftmax = 3", "line 1: there is no key `grades`; there are name, authors, chapters, hints, late_"),
        ('points = "many"', "line 1: `points` is a line [points], and below it lines such as `softmax = 3`"),
        ("hints = 1\n[points]\nmask = 2\nsoftmax = 0", "line 4: in [points], `softmax` is a whole number from 1 to"),
        ("points.softmax = 1.5", "line 1: in [points], `softmax` is a whole number"),
        ("points = {mask = 2, softmax = true}", "line 1: in [points], `softmax` is a whole number"),
        ("[points]\nsoftmax = 3\nhints = 1", "line 3: `hints` is below [points]; put it above all such lines"),
        ("[deadlines]\nch01_heads = 12", "line 2: in [deadlines], `ch01_heads` is a time, as in `ch01_attention = "),
        ("late_penalty = 10", "line 1: `late_penalty` is a text"),
        ("\nname = 3", "line 2: `name` is a text"),
        ('chapters = "ch01"', "line 1: `chapters` is a list of texts"),
        ('chapters = ["ch01", 2]', "line 1: `chapters` is a list of texts"),
        ('chapters = ["ch01", "ch01"]', "line 1: `chapters` has ch01 twice"),
        ("hints = 1\nchapters = []", "line 2: `chapters` is empty; leave the line out for all chapters"),
        ("group_work = 1", 'line 1: `group_work` is a list of texts, such as ["ch01_heads"]'),
        ("hints = true", "line 1: `hints` is 0, 1 or 2"),
        ('site = "https://x.org/"', "line 1: `site` is an address without a slash at its end"),
        ("site = 'https://x.org/\"onclick='", "line 1: `site` is an address"),
        ('name = "x"\nauthors = [', "is not TOML"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_line(tmp_path, text, sentence):
    with pytest.raises(CourseError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith("course.toml")
    assert sentence in str(error.value)


def test_pages_have_the_name_and_the_authors(tmp_path):
    (tmp_path / "_config.yml").write_text("title: Ours\nauthor: We\nsphinx: {config: {html_theme_options: {}}}\n")
    assert Project(tmp_path).config()["title"] == "Ours"
    (tmp_path / "course.toml").write_text('name = "Theirs"\nauthors = ["Ada", "Grace"]')
    config = Project(tmp_path).config()
    assert (config["title"], config["author"]) == ("Theirs", "Ada, Grace")
    assert config["sphinx"]["config"]["html_theme_options"]["logo"]["text"] == "Theirs"

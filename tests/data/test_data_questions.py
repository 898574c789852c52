"""Questions: exact records, what is never asked, and no article on both sides."""

import collections

import pytest

from course_lib.data.corpora import questions as module
from course_lib.data.corpora.questions import CLOSED_BOOK, MISSING, OPEN_BOOK, WORDINGS, questions
from course_lib.data.corpora.wikipedia import wikipedia_leads


@pytest.fixture(scope="module")
def both():
    return questions()


@pytest.fixture(scope="module")
def articles():
    return {article.title: article for article in wikipedia_leads()}


def ask(both, title):
    return {question.kind: question for side in both for question in side if question.title == title}


def test_counts(both):
    counts = collections.Counter(question.kind for side in both for question in side)
    assert counts == {
        "describe": 9_862,
        "explain": 10_033,
        "topic": 9_033,
        "name": 7_181,
        "born": 1_149,
        "read-describe": 9_862,
        "read-name": 8_730,
        "read-topic": 9_033,
        "read-missing": 8_334,
    }
    assert both == questions()


def test_records_that_were_looked_up(both):
    asked = ask(both, "Pierre de Fermat")
    assert {kind: question.answer for kind, question in asked.items() if kind != "explain"} == {
        "describe": "French mathematician and lawyer (1601–1665)",
        "topic": "People",
        "name": "Pierre de Fermat",
        "born": "1601",
        "read-describe": "French mathematician and lawyer (1601–1665)",
        "read-name": "Pierre de Fermat",
        "read-topic": "People",
        "read-missing": MISSING,
    }
    assert asked["explain"].answer.startswith("Pierre de Fermat was a French magistrate, polymath")
    assert asked["born"].messages == [
        {"role": "user", "content": asked["born"].prompt},
        {"role": "assistant", "content": "1601"},
    ]
    assert ask(both, "Philip Glass")["born"].answer == "1937"


def test_years_that_are_not_of_birth_are_not_asked(both):
    """Of reigns and of bands."""
    for title in ("Puyi", "Sigismund III Vasa", "Led Zeppelin", "Nirvana (band)", "Pedro I of Brazil"):
        assert "describe" in ask(both, title)
        assert "born" not in ask(both, title)


def test_no_article_is_on_both_sides_not_even_to_read(both, articles):
    train, test = ({question.title for question in side} for side in both)
    assert not train & test
    assert train | test == set(articles)
    assert abs(len(test) - 0.1 * len(articles)) < 5 * (0.09 * len(articles)) ** 0.5  # 5 standard errors of a count
    texts = {article.extract: title for title, article in articles.items()}
    for side, titles in zip(both, (train, test), strict=True):
        read = [q.prompt for q in side if q.kind == "read-missing"]
        found = {texts[part] for prompt in read for part in (prompt, *halves(prompt)) if part in texts}
        assert len(found) > 0.98 * len(read)
        assert found <= titles


def halves(prompt):
    """The text stands before or after the question, with an empty line between; a text may hold one itself."""
    return prompt.rsplit("\n\n", 1)[0], prompt.split("\n\n", 1)[-1]


def test_a_book_is_open_or_closed(both, articles):
    for question in both[1]:
        extract = articles[question.title].extract
        if question.kind in CLOSED_BOOK:
            assert extract not in question.prompt or len(extract) < 60
        elif question.kind == "read-missing":
            assert extract not in question.prompt
            assert question.answer == MISSING
        else:
            assert extract in question.prompt
        if question.kind == "read-name":
            assert question.answer.lower() in question.prompt.lower()
        if question.kind == "name":
            assert question.answer.lower() not in question.prompt.lower()
        assert question.answer.strip()
        assert question.answer != "Uncategorized"


def test_a_name_has_one_answer(both):
    """The same description is never asked with two answers."""
    answers = collections.defaultdict(set)
    descriptions = {
        question.title: question.answer.lower() for side in both for question in side if question.kind == "describe"
    }
    asked = [question for side in both for question in side if question.kind == "name"]
    for question in asked:
        answers[descriptions[question.title]].add(question.answer)
    assert all(len(names) == 1 for names in answers.values())
    shared = collections.Counter(descriptions.values())
    assert all(shared[descriptions[question.title]] == 1 for question in asked)


def test_kinds_and_wordings_can_be_chosen(both):
    for number in range(4):
        train, test = questions(["describe"], [number])
        begins, ends = CLOSED_BOOK["describe"][number].split("{title}")
        assert len(train) + len(test) == 9_862
        assert all(q.prompt == f"{begins}{q.title}{ends}" and q.kind == "describe" for q in train + test)
    # Every wording is used about as often: 4 shares of 8,842 prompts, within 5 standard errors.
    used = collections.Counter(
        number
        for q in both[0]
        if q.kind == "describe"
        for number, wording in enumerate(CLOSED_BOOK["describe"])
        if q.prompt == wording.format(title=q.title)
    )
    assert all(abs(n - 8_842 / 4) < 5 * (8_842 * 3 / 16) ** 0.5 for n in used.values())
    assert sum(used.values()) == 8_842


def test_the_sides_do_not_depend_on_the_kinds(both):
    test = {question.title for question in both[1]}
    assert {question.title for question in questions(["born", "name"])[1]} <= test
    assert questions(["topic"], test=0.0)[1] == []


def test_bad_choices():
    with pytest.raises(ValueError, match="there is none named 'summarise'"):
        questions(["describe", "summarise"])
    for wrong in ([], [4], [0, -1]):
        with pytest.raises(ValueError, match="the wordings 0, 1, 2 and 3"):
            questions(["describe"], wrong)


def test_the_wordings_are_four_for_each_kind_and_all_different():
    assert set(CLOSED_BOOK) | set(OPEN_BOOK) == set(WORDINGS)
    assert all(len(wordings) == 4 for wordings in WORDINGS.values())
    assert len({wording for wordings in WORDINGS.values() for wording in wordings}) == 4 * len(WORDINGS)


@pytest.mark.parametrize(
    ("title", "text", "shares"),
    [
        ("Krishna River", "The river is long.", True),
        ("Krishna River", "A mountain.", False),
        ("Pi", "A pie", True),
        ("Ohm", "The volt is a unit.", False),
    ],
)
def test_a_description_that_gives_the_name_away(title, text, shares):
    assert module._shares_a_word(title, text) == shares

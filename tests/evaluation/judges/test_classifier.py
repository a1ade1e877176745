from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from datasets import Dataset

from jokbo.evaluation.judges import classifier
from jokbo.evaluation.judges.classifier import Labelled
from jokbo.evaluation.judges.judge import Given, Judged
from jokbo.params import ClassifierJudge
from jokbo.runtime.errors import InputError

GOOD = [
    "a warm and funny film about love",
    "the acting is superb from start to end",
    "i loved every minute of it",
]
BAD = [
    "a dull and lifeless waste of time",
    "the acting is awful from start to end",
    "i hated every minute of it",
]
KEY = "evaluate.judges.mine"


def reviews(rng: np.random.Generator, sentences: Sequence[str], count: int) -> list[str]:
    return [". ".join(rng.choice(sentences, size=5)) + "." for _ in range(count)]


def table(rows: Sequence[tuple[str, str, str | None]]) -> Dataset:
    """Documents of a source each: text, source, label."""
    columns = zip(*rows, strict=True)
    texts, sources, labels = columns
    return Dataset.from_dict({"text": texts, "sources": [[name] for name in sources], "label": labels})


@pytest.fixture(scope="module")
def trained() -> classifier.Classifier:
    rng = np.random.default_rng(0)
    texts = reviews(rng, GOOD, 40) + reviews(rng, BAD, 40)
    return classifier.fit(Labelled(texts, [True] * 40 + [False] * 40), KEY)


def test_judges_single_sentences_of_what_it_learned_from_reviews(trained):
    assert trained.right(GOOD + BAD, [True] * 3 + [False] * 3).all()
    assert not trained.right(GOOD + BAD, [False] * 3 + [True] * 3).any()


def test_is_a_probability_and_undecided_about_unknown_words(trained):
    good = trained.good([*GOOD, *BAD, "zyx", ""])
    assert good.shape == (8,)
    assert ((good >= 0) & (good <= 1)).all()
    assert good[-2:] == pytest.approx(0.5, abs=0.15)


def test_a_sentence_teaches_what_its_text_says_only_once():
    """A word of a single text is no part of the vocabulary unless the text's sentences are texts as well."""
    good, bad = (f"plain words come before. a truly {word} ending indeed." for word in ("splendid", "horrid"))
    trained = classifier.fit(Labelled([good, bad], [True, False]), KEY)
    splendid, horrid = trained.good(["a splendid thing", "a horrid thing"])
    assert splendid > 0.6
    assert horrid < 0.4


def test_sentences_in_runs_without_short_ones():
    text = "One two three four five. No! Six seven eight nine ten? End of the very last one."
    assert classifier.sentences(text) == [
        "One two three four five.",
        "Six seven eight nine ten?",
        "End of the very last one.",
    ]
    assert classifier.sentences(text, together=2)[0] == "One two three four five. No!"


@pytest.mark.parametrize(
    ("texts", "good", "said"),
    [
        (
            ["a film"] * 3,
            [True] * 3,
            "mine: all 3 texts that are set aside are good: raise prepare.splits.judge",
        ),
        (["a film"] * 3, [False] * 3, "mine: all 3 texts that are set aside are not good"),
        (["one two", "three four"], [True, False], "mine: no word stands in two of the 2 texts"),
        (["-", "+"], [True, False], "mine: no word stands in two of the 2 texts"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(texts, good, said):
    with pytest.raises(InputError, match=said):
        classifier.fit(Labelled(texts, good), KEY)


def tickets(rng: np.random.Generator, count: int) -> list[tuple[str, str, str | None]]:
    """Long letters and short notes of three classes each, and a letter of which the class is not known."""
    words = {
        "praise": GOOD,
        "complaint": BAD,
        "question": ["where is the bill i asked for", "when do you open"],
    }
    rows = []
    for label, said in words.items():
        rows += [(text, "letters", label) for text in reviews(rng, said, count)]
        rows += [(text, "notes", label) for text in said for _ in range(count // 2)]
    return [
        *rows,
        ("Nobody knows what this one is about, and it is long. It goes on and on.", "letters", None),
    ]


def judged(good: str | int, rename: dict[str, str] | None = None) -> Judged:
    rng = np.random.default_rng(1)
    rows, held_out = (
        [
            (text, source, label and (rename or {}).get(label, label))
            for text, source, label in tickets(rng, 12)
        ]
        for _ in range(2)
    )
    settings = ClassifierJudge(kind="classifier", sources=["letters", "notes"], good=good)
    responses = {"base": BAD, "aligned": [*GOOD[:2], "where is the bill i asked for"]}
    given = Given("mine", responses, {}, lambda: table(rows), lambda: table(held_out))
    return classifier.judged(settings, given)


def test_any_class_may_be_the_good_one_and_all_others_are_not():
    found = judged("praise")
    assert found.probabilities
    assert (found.scores["base"] < 0.5).all()
    assert (found.scores["aligned"] > 0.5).tolist() == [True, True, False]
    asked = judged("question")
    assert (asked.scores["aligned"] > 0.5).tolist() == [False, False, True]
    assert "class question" in asked.about


def test_a_whole_number_names_the_class_as_the_word_does():
    names = {"praise": "1", "complaint": "0", "question": "2"}
    ours, theirs = judged(1, names).scores["aligned"], judged("praise").scores["aligned"]
    assert ours.tolist() == theirs.tolist()


def test_it_is_tried_on_each_source_and_on_sentences_where_texts_are_long():
    trust = judged("praise").trust
    assert {source: set(parts) for source, parts in trust.items()} == {
        "letters": {"texts", "sentences"},
        "notes": {"texts"},
    }
    assert trust["letters"]["texts"].right["value"] == 1.0
    assert trust["letters"]["texts"].right["units"] == trust["letters"]["sentences"].right["units"] == 36
    assert trust["letters"]["texts"].one_answer == pytest.approx(2 / 3)
    assert trust["notes"]["texts"].one_answer == pytest.approx(30 / 48)

from __future__ import annotations

import pytest

from jokbo.comparison.lexicon import valences
from jokbo.runtime.errors import InputError

LINES = (
    "good\t1.9\t0.9\t[2, 1]\r\n:-Þ\t0.9\t1.0\t[1, -1]\r\n\r\nbad\t-2.5\t0.6\t[-3]\r\ngood\t2.0\t0.9\t[2]\r\n"
)


def test_words_and_their_means(wheel, tmp_path):
    digest = wheel({"toy/vader_sentiment_lexicon.txt": LINES.encode("latin-1"), "toy/other.txt": b"x\t1\n"})
    assert valences("toy-texts==1.0", digest, tmp_path) == {"good": 2.0, ":-Þ": 0.9, "bad": -2.5}


def test_package_without_a_lexicon(wheel, tmp_path):
    with pytest.raises(
        InputError, match=r"toy-texts==1\.0 is no zip with a file \S*lexicon\.txt: pin a package that is"
    ):
        valences("toy-texts==1.0", wheel({"toy/other.txt": b""}), tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"toy/vader_sentiment_lexicon.txt": b"good and bad\n"},
            r"\S*lexicon\.txt is no lexicon \(not enough",
        ),
        ({"toy/vader_sentiment_lexicon.txt": b"good\tvery\n"}, r"\S*lexicon\.txt is no lexicon \(could not"),
        (
            dict.fromkeys(("a/vader_sentiment_lexicon.txt", "b/vader_sentiment_lexicon.txt"), b""),
            "holds 2 files",
        ),
    ],
)
def test_package_with_another_kind_of_lexicon(wheel, tmp_path, files, said):
    with pytest.raises(InputError, match=rf"toy-texts==1\.0:? {said}.*: pin a"):
        valences("toy-texts==1.0", wheel(files), tmp_path)

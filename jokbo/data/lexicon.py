"""Words and how good or bad they are: the lexicon of VADER (Hutto and Gilbert 2014, section 3.1)."""

from __future__ import annotations

from pathlib import Path

from jokbo.data.sources import package_files

LEXICON = "*/vader_sentiment_lexicon.txt"


def valences(requirement: str, sha256: str, downloads: Path) -> dict[str, float]:
    """The mean rating, -4 to 4, of each word in the lexicon of a package; of one that stands there twice the last.

    downloads: a folder that keeps the package's file. Raises InputError if it has none.
    """
    (lexicon,) = package_files(requirement, sha256, LEXICON, downloads)
    # two words of it, :-Þ and :Þ, show that it is in Latin-1
    rows = (line.decode("latin-1").split("\t") for line in lexicon.splitlines() if line)
    return {word: float(mean) for word, mean, *_ in rows}

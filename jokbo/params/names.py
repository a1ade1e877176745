"""The names that a source may have: its name becomes that of a folder, and a part of a metric's name."""

from __future__ import annotations

import re

BYTES = 100  # most bytes of a name, in UTF-8
TAKEN = ("all", "sources.json")  # the count over all sources, and the file beside their folders


def fault(name: str) -> str | None:
    """Return one line on what is wrong with the name of a source; None if nothing is."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > BYTES:
        rule = f"use letters, digits, '_', '.', '-', up to {BYTES} bytes"
        return f"{name[:80]!r} is no name for a source: {rule}"
    return f"{name!r} has a meaning of its own: call the source something else" if name in TAKEN else None

"""The names that a source may have, as its name becomes that of a folder and a part of a metric's name; and what to
write in the place of a wrong name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

BYTES = 100  # most bytes of a name, in UTF-8
TAKEN = ("all", "sources.json")  # the count over all sources, and the file beside their folders


def fault(name: str) -> str | None:
    """Return one line on what is wrong with the name of a source; None if nothing is."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > BYTES:
        rule = f"use letters, digits, '_', '.', '-', up to {BYTES} bytes"
        return f"{name[:80]!r} is no name for a source: {rule}"
    return f"{name!r} has a meaning of its own: call the source something else" if name in TAKEN else None


def nearest(name: str, present: Collection[str]) -> str:
    """Return what to write instead of a name that is not present."""
    near = difflib.get_close_matches(name, present, n=1, cutoff=0.5)
    there = f"there {'is' if len(present) == 1 else 'are'} {', '.join(sorted(present)) or 'none'}"
    return f"did you mean {near[0]}? ({there})" if near else there

"""What a source may be called: its name becomes a folder's, and part of a metric's."""

from __future__ import annotations

import re

BYTES = 100
TAKEN = ("all", "sources.json")  # what counts over all sources, and what stands beside their folders


def fault(name: str) -> str | None:
    """One line on what is wrong with the name of a source; None if nothing is."""
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > BYTES:
        rule = f"use letters, digits, '_', '.', '-', up to {BYTES} bytes"
        return f"{name[:80]!r} is no name for a source: {rule}"
    return f"{name!r} has a meaning of its own: call the source something else" if name in TAKEN else None

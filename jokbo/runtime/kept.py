"""What a run measured, in a file for git: with the day on which it was new, and the machines that made the models."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jokbo.runtime import ancestry, environment
from jokbo.runtime.files import read_if_there, write_text

MEASURED = "measured"  # its key in the file


def keep(path: Path, numbers: Mapping[str, Any], models: Path) -> None:
    """Write the numbers, and of which day and machines they are; `models` is the folder of the models that they are of.

    The same numbers stay as they are, with their day.
    """
    before: dict[str, Any] = read_if_there(path) or {}
    if before.pop(MEASURED, None) and before == numbers:
        return
    records = [record for _, record in ancestry.records_in(models).values()]
    machines = {environment.machine(found) for record in records for found in record.environments[-1:]}
    measured = {"date": time.strftime("%Y-%m-%d"), "machine": "; ".join(sorted(machines))}
    text = json.dumps({**numbers, MEASURED: measured}, indent=1, sort_keys=True, ensure_ascii=False)
    write_text(path, text + "\n")


def when(found: Mapping[str, Any]) -> str:
    """Return the day and the machine of such a file's numbers, in words that follow "measured"."""
    measured = found.get(MEASURED)
    if measured is None:
        return "on a day and a machine that are not written down"
    return f"{measured['date']} on {measured['machine']}"

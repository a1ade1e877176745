"""What a page of Prefect shows of responses is text, whatever a model wrote."""

from __future__ import annotations

import json
from pathlib import Path

from flows import told


def test_samples_are_code_on_one_line_and_never_markup(tmp_path: Path) -> None:
    nasty = {"prompt": "a | b\nc", "supervised": "<b>x</b> `y` [z](javascript:0)", "aligned": "w" * 1000}
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps(nasty) + "\n" for _ in range(9)))
    _, _, *rows = told.samples(file).splitlines()
    assert len(rows) == told.SAMPLES
    for row in rows:
        prompt, before, after = row.strip("| ").replace("\\|", "\0").split(" | ")
        assert prompt == "`a \0 b c`"
        assert before == "`<b>x</b> 'y' [z](javascript:0)`"
        assert after == f"`{'w' * told.LONGEST}...`"

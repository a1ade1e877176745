from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from flows import terminal
from flows.flow import CHATTER
from tests.reporting.findings import findings


def test_a_line_is_broken_between_words_at_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    record = logging.makeLogRecord({"msg": "jokbo: prepare: " + "texts were left out " * 8})
    lines = terminal.Lines().format(record).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(" " * 10) for line in lines[1:])
    assert " ".join(" ".join(lines).split()[1:]) == record.getMessage().strip()


@pytest.mark.parametrize(
    "said",
    [
        "Beginning flow run 'amusing-myna' for flow 'pipeline'",
        "View at http://127.0.0.1:44211/runs/flow-run/1",
        "Finished in state Ran(type=COMPLETED)",
        "Crash detected! Execution was aborted",
    ],
)
def test_what_prefect_says_of_itself_is_noise(said: str) -> None:
    assert terminal.NOISE.match(said)


def test_dvc_does_not_announce_a_stage_again() -> None:
    assert CHATTER.search("Running stage 'ppo':")
    assert CHATTER.search("> sh tasks/python -m tasks.ppo")
    assert not CHATTER.search("ERROR: failed to reproduce 'ppo'")


def test_the_end_shows_the_result_the_report_and_what_to_type(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv(
        "PATH", str(Path(sys.executable).parent), prepend=os.pathsep
    )  # an activated environment
    terminal.conclusion()
    assert capsys.readouterr().out == ""
    terminal.EVALUATION.mkdir(parents=True)
    findings().evaluation.save(terminal.EVALUATION / "evaluation.json")
    terminal.REPORT.parent.mkdir()
    terminal.REPORT.touch()
    terminal.conclusion()
    said = capsys.readouterr().out
    for part in (
        "It worked",
        "84% (80",
        "aligned",
        "reports/report.html",
        "jokbo chat models/aligned",
        "make ui",
    ):
        assert part in said, part
    assert max(map(len, said.splitlines())) <= 80


def test_what_to_type_is_not_broken_where_the_environment_has_a_long_path(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", "")
    there = tmp_path.parent / "a folder with a long name" / ("b" * 80) / "bin"
    monkeypatch.setattr(sys, "executable", str(there / "python"))
    terminal.EVALUATION.mkdir(parents=True)
    findings().evaluation.save(terminal.EVALUATION / "evaluation.json")
    terminal.REPORT.parent.mkdir()
    terminal.REPORT.touch()
    terminal.conclusion()
    assert f"{there}/jokbo chat models/aligned\n" in capsys.readouterr().out

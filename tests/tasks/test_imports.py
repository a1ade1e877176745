"""Libraries are quiet while a stage starts: what a user reads there is the stage's own."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_a_stage_that_trains_says_nothing_while_it_is_imported() -> None:
    script = "import tasks.align"  # it imports all that any of them does
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

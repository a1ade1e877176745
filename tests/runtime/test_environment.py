"""What a run was made in: the same record for the same surroundings, no secrets, and quick."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jokbo.runtime import environment
from tests.conftest import ROOT


def test_it_says_what_changes_the_last_digits() -> None:
    found = environment.collect(zero_stage=2, compiled=True)
    assert found["packages"]["deepspeed"] == importlib.metadata.version("deepspeed")
    assert found["torch"]["version"] == torch.__version__
    assert found["torch"]["git_version"] == torch.version.git_version
    assert found["capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] == torch.get_num_threads()
    assert (found["zero_stage"], found["ranks"]) == (2, 1)
    assert found["processor"]
    shown = environment.summary(found)
    assert torch.__version__ in shown
    assert "ZeRO 2" in shown
    assert environment.text(environment.collect()) == environment.text(environment.collect())


@pytest.mark.parametrize(("written", "threads"), [("4,2", 4), ("", None), ("many", None)])
def test_what_the_environment_says_of_threads_and_ranks(
    monkeypatch: pytest.MonkeyPatch, written: str, threads: int | None
) -> None:
    """OpenMP takes a list; ranks that a shell of torchrun's left are not this stage's."""
    monkeypatch.setenv("OMP_NUM_THREADS", written)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delitem(sys.modules, "torch")
    found = environment.collect()
    assert (found["threads"], found["ranks"]) == (threads or found["cores"], 1)


def test_a_data_stage_imports_nothing_for_it() -> None:
    script = "import sys; from jokbo.runtime import environment; environment.collect(); print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_no_secret_of_the_environment_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@host")
    found = environment.collect()
    assert "s3cret" not in environment.text(found) + json.dumps(environment.tags(found))


def test_the_vector_extensions_are_those_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = {"model name": "Xeon", "flags": "fpu sse4_2 avx2 avx512_bf16 amx_tile amx_bf16 lm"}
    monkeypatch.setattr(environment, "_cpuinfo", lambda: cpuinfo)
    found = environment.collect()
    assert found["vector"] == ["amx_bf16", "amx_tile", "avx2", "avx512_bf16", "sse4_2"]
    assert "AMX" in environment.summary(found)
    assert environment.tags(found)["environment.vector"] == "amx_bf16 amx_tile avx2 avx512_bf16 sse4_2"


def test_every_environment_of_a_resumed_stage_is_remembered(tmp_path: Path) -> None:
    def worked(threads: int, key: str = "k", resumed: bool = True) -> list[int]:
        found = environment.worked(tmp_path, "family@bert", key, {"threads": threads}, resumed=resumed)
        return [one["threads"] for one in found]

    assert worked(1) == [1]
    assert worked(2) == [1, 2]
    assert worked(2) == [1, 2]
    assert worked(2, key="other") == [2]
    assert worked(3, key="other") == [2, 3]
    assert worked(4, key="other", resumed=False) == [4]
    (tmp_path / "environments" / "family@bert.json").write_text("{")  # cut by a kill
    assert worked(5, key="other") == [5]

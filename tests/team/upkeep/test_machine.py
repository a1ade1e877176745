"""What is said of this machine, as it is and as it would be if something were amiss."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from jokbo.runtime import environment
from jokbo.team.upkeep import machine
from jokbo.team.upkeep.findings import Finding

Surroundings = Callable[..., None]


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """Have the environment be what it is but for this."""
    found = environment.collect()

    def change(**changes: Any) -> None:
        monkeypatch.setattr(environment, "collect", lambda: found | changes)

    return change


def levels(found: Iterator[Finding]) -> list[str]:
    return [finding.level for finding in found]


def test_another_python_than_jokbo_runs_on_is_wrong(surroundings: Surroundings) -> None:
    assert levels(machine.python()) == ["ok"]
    surroundings(python="3.9.1")
    (found,) = machine.python()
    assert found.level == "wrong"
    assert found.found.startswith("3.9.1, and jokbo needs ")


def test_packages_are_held_against_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What jokbo cannot do without is wrong if it is not there; what tests alone need is not."""
    monkeypatch.chdir(tmp_path)
    assert levels(machine.packages()) == ["ok"]  # there is no lock
    lock = [f"ruamel.yaml=={version('ruamel.yaml')} \\", f"pytest=={version('pytest')} \\"]
    machine.LOCK.write_text("\n".join(lock) + "\n    --hash=sha256:00\n")
    assert [(found.level, found.found) for found in machine.packages()] == [
        ("ok", "all 2 of requirements.lock, in its versions")
    ]
    machine.LOCK.write_text("pytest==0.1 \\\nno-such-package==1.0 \\\n")
    assert [(found.level, found.found) for found in machine.packages()] == [
        ("warning", "missing, of tests and extras alone: no-such-package"),
        (
            "warning",
            f"other versions than the lock's, so results may differ: pytest {version('pytest')}, not 0.1",
        ),
    ]


def test_a_version_that_jokbo_cannot_take_and_a_package_that_it_needs_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surroundings: Surroundings
) -> None:
    monkeypatch.chdir(tmp_path)
    machine.LOCK.write_text("fastapi==0.150.0 \\\nrich==14.0.0 \\\n")
    surroundings(packages={"fastapi": "0.155.0"})
    found = {finding.found.partition(":")[0]: finding.level for finding in machine.packages()}
    assert found == {"missing": "wrong", "not fit for jokbo": "wrong"}


CARD = ["NVIDIA H200", "driver 570.1"]


@pytest.mark.parametrize(
    ("build", "accelerators", "level", "said"),
    [
        ({"version": "2.13.0+cpu"}, [], "ok", "2.13.0+cpu, built for CPUs alone"),
        ({"version": "2.13.0+cpu"}, CARD, "warning", "so NVIDIA H200 is not used"),
        ({"version": "2.13.0+cu130", "cuda": "13.0"}, CARD, "ok", "2.13.0+cu130, built for CUDA 13.0"),
        ({"version": "2.13.0", "cuda": "13.0"}, [], "ok", "the smaller build for CPUs would do"),
        ({"version": "2.1.0"}, [], "wrong", "jokbo needs torch==2.13.0"),
        ({}, [], "wrong", "torch is not installed"),
    ],
)
def test_the_build_of_torch_is_held_against_the_machine(
    surroundings: Surroundings, build: dict[str, str], accelerators: list[str], level: str, said: str
) -> None:
    surroundings(torch=build, accelerators=accelerators)
    (found,) = machine.torch()
    assert (found.level, said in found.found) == (level, True)


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        (["amx_bf16", "avx512_bf16"], "AMX: bf16 at full speed"),
        (["avx512_bf16"], "without AMX"),
        (["avx2", "avx512f"], "AVX512 without bf16"),
        (["asimd", "bf16"], "bf16 of ARM"),
        (["avx2"], "trainings compute in fp32"),
        ([], "trainings compute in fp32"),
    ],
)
def test_vector_extensions_say_what_they_mean_for_speed(
    surroundings: Surroundings, vector: list[str], said: str
) -> None:
    surroundings(vector=vector, cores=4, threads=2)
    speed, threads = machine.processor()
    assert said in speed.found
    assert (threads.level, threads.found) == ("warning", "OMP_NUM_THREADS has 2 of 4 cores used")


def test_a_compiler_is_missed_only_where_something_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert levels(machine.compiler(True)) == ["warning"]
    assert levels(machine.compiler(False)) == ["ok"]
    _program(tmp_path / "g++", "echo '<stdin>:1: fatal error: Python.h: No such file' >&2; exit 1")
    (found,) = machine.compiler(True)
    assert found.level == "wrong"
    assert "Python.h: No such file" in found.found


def test_a_gpu_that_torch_cannot_use_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, surroundings: Surroundings
) -> None:
    """By a torch that says what one with the wrong driver, or without kernels for the card, says."""
    assert levels(machine.gpu(1)) == ["ok"]
    surroundings(torch={"version": "2.13.0", "cuda": "13.0"}, accelerators=CARD)
    said = tmp_path / "said"
    monkeypatch.setattr(sys, "executable", str(_program(tmp_path / "python", f"cat {said}")))
    said.write_text('{"available": false, "capabilities": [], "kernels": [], "nccl": null}')
    assert levels(machine.gpu(1)) == ["wrong"]
    card = '"capabilities": [[9, 0]], "kernels": ["sm_80", "sm_90a"]'
    said.write_text(f'{{"available": true, {card}, "nccl": null}}')
    assert levels(machine.gpu(1)) == ["ok"]
    assert levels(machine.gpu(2)) == ["ok", "wrong"]  # several train, and there is no NCCL
    said.write_text(f'{{"available": true, {card.replace("sm_90a", "sm_120")}, "nccl": "2.29.3"}}')
    (found,) = machine.gpu(2)
    assert (found.level, "no kernels" in found.found) == ("wrong", True)


def _program(path: Path, does: str) -> Path:
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


def test_a_folder_without_commits_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert levels(machine.git()) == ["warning"]
    monkeypatch.setenv("PATH", os.devnull)
    assert levels(machine.git()) == ["warning"]

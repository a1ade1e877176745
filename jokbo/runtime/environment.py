"""What a run was made in: packages, torch's build, processor and its vector extensions, threads, ranks, accelerators.

The same code and data give other last digits, and so other models, on another kind of processor. Nothing here is a
secret, names the machine, or changes while it runs: the same surroundings give the same record.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jokbo.runtime.launcher import cores

SHOWN = ("torch", "deepspeed", "transformers", "tokenizers", "datasets", "numpy", "scikit-learn")
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "CUBLAS_WORKSPACE_CONFIG",
)
_VECTOR = re.compile(r"(avx|amx|fma|f16c|sse4|asimd|sve|bf16|i8mm)\w*")


def collect(*, ranks: int = 1, zero_stage: int | None = None, compiled: bool | None = None) -> dict[str, Any]:
    """Return the environment of this process. What only torch can tell is there if the stage has imported it."""
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "vector": _vector(),
        "cores": cores(),
        "threads": torch.get_num_threads() if torch else _threads(),
        "ranks": ranks,
        "accelerators": _accelerators(torch),
        "torch": _torch_build(),
        "packages": _packages(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    if torch:
        found["capability"] = torch.backends.cpu.get_cpu_capability()
    return found | {
        name: value
        for name, value in {"zero_stage": zero_stage, "compiled": compiled}.items()
        if value is not None
    }


def tags(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment as tags of a run: of the packages those that matter most, and a hash of all."""
    lines = "\n".join(f"{name}=={version}" for name, version in found["packages"].items())
    shown = {name: found["packages"][name] for name in SHOWN if name in found["packages"]}
    short = {
        **found,
        "packages": " ".join(f"{name}=={version}" for name, version in shown.items()),
        "packages.sha256": hashlib.sha256(lines.encode()).hexdigest()[:16],
    }
    return {
        f"environment.{name}": _plain(value) for name, value in short.items() if value not in ({}, [], "")
    }


def summary(found: Mapping[str, Any]) -> str:
    """Return the environment in a line: what changes the last digits of a model."""
    vector = [name for name in found["vector"] if name.startswith(("amx", "avx512", "avx2", "sve"))]
    parts = [
        *(found["accelerators"] or [found["processor"]]),
        found.get("capability") or " ".join(vector),
        "AMX" if any(name.startswith("amx") for name in vector) else "",
        f"torch {found['torch'].get('version', 'unknown')}",
        f"{found['ranks']} rank{'s' * (found['ranks'] != 1)} of {found['threads']} threads",
        f"ZeRO {found['zero_stage']}" if "zero_stage" in found else "",
    ]
    return ", ".join(part for part in parts if part)


def machine(found: Mapping[str, Any]) -> str:
    """Return what a run was made on, in a few words."""
    parts = summary(found).split(", torch ")[0]
    return f"{parts}, {found['cores']} core{'s' * (found['cores'] != 1)}"


def text(found: Any) -> str:
    """Return it as JSON: the same bytes for the same environment."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def worked(
    state: Path, stage: str, key: str, found: Mapping[str, Any], *, resumed: bool
) -> list[Mapping[str, Any]]:
    """Return every environment in which this identity of a stage was worked on, this one last: a stage that `resumed`
    may have begun in another. They are read_if_there in .jokbo, here `state`.
    """
    file = state / "environments" / f"{stage}.json"
    earlier: list[Mapping[str, Any]] = []
    if resumed:
        try:
            read_if_there = json.loads(file.read_text())
            earlier = read_if_there["environments"] if read_if_there["key"] == key else []
        except (OSError, ValueError):
            pass
    every = [one for one in earlier if one != found] + [found]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(text({"key": key, "environments": every}))
    partial.replace(file)
    return every


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return (
            " ".join(map(str, value))
            if all(" " not in str(one) for one in value)
            else ", ".join(map(str, value))
        )
    if isinstance(value, Mapping):
        return " ".join(f"{name}={one}" for name, one in value.items())
    return str(value)


def _threads() -> int:
    """Return what OMP_NUM_THREADS, a number or a list by depth, has a process begin with."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else cores()


@cache
def _cpuinfo() -> dict[str, str]:
    """Return the first core of /proc/cpuinfo, by field."""
    try:
        core = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in core.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _vector() -> list[str]:
    flags = _cpuinfo().get("flags") or _cpuinfo().get("Features") or ""
    return sorted(flag for flag in flags.split() if _VECTOR.match(flag))


@cache
def _packages() -> dict[str, str]:
    """Return the name and version of every installed package, as the names of their folders say, which is quick."""
    found: dict[str, str] = {}
    for folder in map(Path, reversed(sys.path)):
        for path in folder.glob("*.dist-info"):
            name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
            found[name.lower().replace("_", "-")] = version
    return dict(sorted(found.items()))


@cache
def _torch_build() -> dict[str, str]:
    """Return what torch's own version.py says (version, git_version, cuda ...), read: importing torch takes seconds."""
    for folder in sys.path:
        file = Path(folder, "torch", "version.py")
        if file.is_file():
            pairs = re.findall(r"^(\w+)[^=\n]*= ['\"](.+)['\"]$", file.read_text(), re.M)
            return {name.strip("_"): value for name, value in pairs}
    return {}


def _accelerators(torch: Any) -> list[str]:
    """Return the names of the accelerators and the driver's version, as the kernel says them or, where it doesn't,
    torch.
    """
    nvidia = Path("/proc/driver/nvidia")
    cards = [
        re.search(r"Model:\s*(.+)", file.read_text()) for file in sorted(nvidia.glob("gpus/*/information"))
    ]
    found = [card[1].strip() for card in cards if card]
    if not found and torch and torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        named = getattr(getattr(torch, kind, None), "get_device_name", lambda number: kind)
        found = [named(number) for number in range(torch.accelerator.device_count())]
    version = nvidia / "version"
    driver = (
        re.search(r"Kernel Module\s+(?:for \S+\s+)?(\S+)", version.read_text()) if version.is_file() else None
    )
    return [*found, f"driver {driver[1]}"] if driver else found

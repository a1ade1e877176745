"""What `jokbo doctor` looks at on this machine: Python, packages, processor, compiler, GPU, programs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from jokbo.runtime import environment
from jokbo.runtime.errors import line_of
from jokbo.team.upkeep.findings import Finding, ok, warning, wrong

LOCK = Path("requirements.lock")
PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.M)
INSTALL = "pip install --require-hashes --no-deps -r requirements.lock"
SHOWN = 5  # most packages that a line names
PROBE_SECONDS = 60
PROBE = """
import json, torch
from torch import cuda
there = cuda.is_available()
print(json.dumps({
    "available": there,
    "capabilities": [cuda.get_device_capability(each) for each in range(cuda.device_count() if there else 0)],
    "kernels": cuda.get_arch_list(),
    "nccl": ".".join(map(str, cuda.nccl.version())) if there and torch.distributed.is_nccl_available() else None,
}))
"""
SPEEDS = {  # by a vector extension
    "amx": "AMX: bf16 at full speed",
    "avx512_bf16": "avx512_bf16 without AMX: bf16 is faster than fp32, and slower than with AMX",
    "bf16": "bf16 of ARM",
    "avx512": "AVX512 without bf16 of its own: several times slower than with AMX; try `precision: fp32` too",
}
# what torch.compile puts before the code that it writes for a CPU
COMPILED = "#include <Python.h>\n#include <omp.h>\n#include <vector>\n"


def python() -> Iterator[Finding]:
    """Yield whether this Python is one that jokbo runs on."""
    found, wanted = environment.collect()["python"], metadata("jokbo")["Requires-Python"]
    if SpecifierSet(wanted).contains(found):
        yield ok(f"{found} ({sys.executable})")
    else:
        yield wrong(f"{found}, and jokbo needs {wanted}", "make PYTHON=/path/to/python3.11")


def packages() -> Iterator[Finding]:
    """Yield how the installed packages differ from the lock."""
    if not LOCK.is_file():
        yield ok(f"there is no {LOCK} here to compare with")
        return
    installed = {canonicalize_name(name): found for name, found in environment.collect()["packages"].items()}
    pinned = {canonicalize_name(name): version for name, version in PINNED.findall(LOCK.read_text("utf-8"))}
    needed = needed_packages()
    missing = [name for name in pinned if name not in installed]
    others = {name: installed[name] for name, pin in pinned.items() if installed.get(name, pin) != pin}
    unfit = [name for name, found in others.items() if not needed.get(name, SpecifierSet()).contains(found)]
    if lacking := [name for name in missing if name in needed]:
        yield wrong(f"missing: {_listed(lacking)}", INSTALL)
    if spare := [name for name in missing if name not in needed]:
        yield warning(f"missing, of tests and extras alone: {_listed(spare)}", INSTALL)
    if unfit:
        shown = [f"{name} {others[name]} (it takes {needed[name]})" for name in unfit]
        yield wrong(f"not fit for jokbo: {_listed(shown)}", INSTALL)
    if rest := [f"{name} {found}, not {pinned[name]}" for name, found in others.items() if name not in unfit]:
        yield warning(f"other versions than the lock's, so results may differ: {_listed(rest)}", INSTALL)
    if not missing and not others:
        yield ok(f"all {len(pinned)} of {LOCK}, in its versions")


def needed_packages() -> dict[str, SpecifierSet]:
    """Return the packages that jokbo needs without extras, directly or not, each with the versions that fit."""
    found: dict[str, SpecifierSet] = {}
    left = ["jokbo"]
    while left:
        try:
            wanted = [Requirement(line) for line in requires(left.pop()) or []]
        except PackageNotFoundError:
            continue
        for each in wanted:
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                name = canonicalize_name(each.name)
                if name not in found:
                    left.append(name)
                found[name] = found.get(name, SpecifierSet()) & each.specifier
    return found


def torch() -> Iterator[Finding]:
    """Yield whether torch is there, in the version that jokbo needs and in the build for this machine."""
    build, wanted = environment.collect()["torch"], needed_packages().get("torch", SpecifierSet())
    pinned = f"torch{wanted}"
    if not build:
        yield wrong("torch is not installed", f"pip install {pinned}")
        return
    kind = _kind(build)
    said = f"{build.get('version')}, built for {kind}"
    if not wanted.contains(build["version"].partition("+")[0]):
        yield wrong(f"{said}; jokbo needs {pinned}", f"pip install {pinned}")
    elif cards() and kind == "CPUs alone":
        install = f"install {pinned} built for CUDA (pytorch.org/get-started/locally)"
        yield warning(f"{said}, so {cards()[0]} is not used", install)
    else:
        beside = ", and there is no GPU: the smaller build for CPUs would do"
        yield ok(said + beside * (kind != "CPUs alone" and not cards()))


def _kind(build: Mapping[str, str]) -> str:
    for name, shown in (("cuda", "CUDA"), ("hip", "ROCm")):
        if name in build:
            return f"{shown} {build[name]}"
    return "CPUs alone"


def cards() -> list[str]:
    """Return the names of NVIDIA's GPUs, as the kernel knows them."""
    return [name for name in environment.collect()["accelerators"] if not name.startswith("driver ")]


def processor() -> Iterator[Finding]:
    """Yield the cores, and what their vector extensions mean for speed."""
    found = environment.collect()
    cores, threads = found["cores"], found["threads"]
    there = (
        said for start, said in SPEEDS.items() if any(name.startswith(start) for name in found["vector"])
    )
    speed = next(there, "no AMX or AVX512: where `precision` is bf16, trainings compute in fp32")
    yield ok(f"{found['processor']}, {cores} core{'s' * (cores != 1)}; {speed}")
    if threads < cores:
        yield warning(f"OMP_NUM_THREADS has {threads} of {cores} cores used", "unset OMP_NUM_THREADS")


def compiler(wanted: bool) -> Iterator[Finding]:
    """Yield whether torch.compile has the C++ compiler that it needs; `wanted`: whether compute.compile is true.

    It is asked for what torch.compile includes, and writes nothing.
    """
    slower = "trainings of 500 steps or more run uncompiled, which is slower"
    install = "apt-get install g++ python3-dev"
    program = shutil.which("g++") or shutil.which("clang++")
    if program is None:
        said = "there is no C++ compiler"
        yield warning(f"{said}: {slower}", install) if wanted else ok(f"{said}, and compute.compile is false")
        return
    headers = sysconfig.get_path("include")
    command = [program, "-fsyntax-only", "-fopenmp", f"-I{headers}", "-x", "c++", "-"]
    tried = subprocess.run(command, input=COMPILED, capture_output=True, text=True)
    if not tried.returncode:
        yield ok(f"{program}, with Python's and OpenMP's headers; jokbo has DeepSpeed compile nothing")
        return
    why = next((line for line in tried.stderr.splitlines() if "error" in line), "it says not why")
    failed = f"{program} cannot compile what torch.compile writes ({why.strip()})"
    yield wrong(failed, f"{install}, or set compute.compile to false") if wanted else warning(failed, install)


def gpu(processes: int) -> Iterator[Finding]:
    """Yield whether torch can use the GPUs, and NCCL where several `processes` train."""
    driver = [name for name in environment.collect()["accelerators"] if name.startswith("driver ")]
    if "cuda" not in environment.collect()["torch"]:
        there = (
            f"{', '.join(cards())}, which this torch cannot use"
            if cards()
            else "none: training runs on the CPU"
        )
        yield ok(there)
        return
    tried = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS
    )
    if tried.returncode:
        why = (tried.stderr.strip().splitlines() or [f"it ended with {tried.returncode}"])[-1]
        yield wrong(
            f"torch cannot be imported ({why})", "pip install --force-reinstall torch, for this machine"
        )
        return
    found = json.loads(tried.stdout.splitlines()[-1])
    if not found["available"]:
        if cards():
            why = f"{', '.join([*cards(), *driver])}: torch.cuda.is_available() is False"
            yield wrong(why, "install a driver as new as torch's CUDA, and give this container the GPU")
        else:
            yield ok("none: training runs on the CPU")
        return
    yield from _fit(found, driver)
    if processes > 1 and found["nccl"] is None:
        yield wrong(
            "this torch has no NCCL, by which several GPUs train", "install PyTorch's own build for CUDA"
        )


def _fit(found: Mapping[str, Any], driver: list[str]) -> Iterator[Finding]:
    """Yield whether torch has kernels for every GPU."""
    built = [re.fullmatch(r"sm_(\d+)(\d)\w?", name) for name in found["kernels"]]
    kernels = [(int(each[1]), int(each[2])) for each in built if each]
    names = cards() or ["GPU"] * len(found["capabilities"])
    for name, (major, minor) in zip(names, found["capabilities"], strict=False):
        said = f"{name}, compute capability {major}.{minor}"
        if not any(one == major and two <= minor for one, two in kernels):
            yield wrong(f"{said}: this torch has no kernels for it", "install another build of torch")
        else:
            beside = [*driver, f"NCCL {found['nccl']}" if found["nccl"] else "no NCCL"]
            yield ok(f"{said}, {', '.join(beside)}; no nvcc is needed")


def programs() -> Iterator[Finding]:
    """Yield which programs some tests need and do not find."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    servers = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    there = {"Chromium": any(map(shutil.which, browsers)), "PostgreSQL": bool(servers)}
    for name, found in there.items():
        if found:
            yield ok(f"{name} is there")
        else:
            install = f"apt-get install --no-install-recommends {name.lower()}"
            yield warning(f"there is no {name}: tests that need it are skipped", install)


def git() -> Iterator[Finding]:
    """Yield whether a commit can be told of what runs."""
    if shutil.which("git") is None:
        yield warning(
            "there is no git: runs cannot say at which commit they were made", "apt-get install git"
        )
        return
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if asked.returncode:
        why = line_of(Exception(asked.stderr)).removeprefix("fatal: ")
        yield warning(f"runs cannot say at which commit they were made ({why})", "git init, and commit")
    else:
        yield ok(f"commit {asked.stdout.strip()}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

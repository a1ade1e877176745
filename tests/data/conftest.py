"""Data fixtures: a registry that is a folder, packages and archives made on the spot, settings of sources."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

CSV = "text,label,source\nA fine film.,1,imdb\nA dull film.,0,rotten_tomatoes\n"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project folder with a registry in it, the only one that pip uses."""
    registry = tmp_path / "registry"
    registry.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return tmp_path


@pytest.fixture
def wheel(project: Path) -> Callable[..., str]:
    """Return a function that puts a wheel `toy-texts 1.0` with the given files into the registry: its sha256."""

    def make(files: dict[str, bytes]) -> str:
        path = project / "registry" / "toy_texts-1.0-py3-none-any.whl"
        info = "toy_texts-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-texts\nVersion: 1.0\n")
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
            for name, content in files.items():
                archive.writestr(name, content)
        return sha256(path)

    return make


def tar_gz(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def package(digest: str, **changed: object) -> SimpleNamespace:
    settings = {
        "kind": "package",
        "requirement": "toy-texts==1.0",
        "sha256": digest,
        "member": "toy_texts/reviews.csv",
        "format": "csv",
        "documents": None,
        "labels": None,
        "columns": {"text": "text", "label": "label", "source": "source"},
    }
    return SimpleNamespace(**(settings | changed))


def files(paths: str, format: str, columns: dict[str, str] | None = None, **changed: str) -> SimpleNamespace:
    settings = {"kind": "files", "paths": paths, "format": format, "columns": columns}
    return SimpleNamespace(**(settings | {"sha256": None, "documents": None, "labels": None} | changed))


def hub(dataset: Path, **changed: object) -> SimpleNamespace:
    settings = {"kind": "hub", "dataset": str(dataset), "revision": "0" * 40, "split": "train"}
    settings |= {"streaming": False, "labels": None}
    return SimpleNamespace(**(settings | {"columns": {"text": "text"}} | changed))


def local(name: str, content: bytes) -> Path:
    """Return a new file under data/local of the working directory."""
    path = Path("data/local", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path

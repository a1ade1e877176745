"""Sources of the kind package: files of a package from a registry that is a folder."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil

import pytest

from jokbo.data.fetch.sources import download
from jokbo.runtime.errors import InputError
from tests.data.conftest import CSV, package, sha256, tar_gz
from tests.data.fetch.reading import DOWNLOADS, ROWS, parquet, read


def rated_snippets() -> dict[str, bytes]:
    tables = {}
    for part in ("movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets", "tweets"):
        tables[f"h/{part}_GroundTruth.txt"] = f"1\t1.5\ta {part} text\r\n".encode()
        tables[f"h/{part}_anonDataRatings.txt"] = b"\xef\xbb\xbf1\t1.5\t0.5\t[1, 2, -4]\r\n"
    return tables


def test_package_is_read_and_not_imported(wheel):
    digest = wheel({"toy_texts/__init__.py": b"raise SystemExit", "toy_texts/reviews.csv": CSV.encode()})
    assert read("toy", package(digest)) == ROWS


def test_second_fetch_needs_no_registry(wheel):
    digest = wheel({"toy_texts/reviews.csv": CSV.encode()})
    read("toy", package(digest))
    shutil.rmtree("registry")
    assert read("toy", package(digest)) == ROWS


def test_damaged_download_is_fetched_anew(wheel):
    digest = wheel({"toy_texts/reviews.csv": CSV.encode()})
    DOWNLOADS.mkdir()
    (DOWNLOADS / digest).write_bytes(b"half a file")
    assert read("toy", package(digest)) == ROWS
    assert sha256(DOWNLOADS / digest) == digest


def test_checksum_mismatch_names_both_and_leaves_nothing(wheel):
    digest = wheel({"toy_texts/reviews.csv": CSV.encode()})
    with pytest.raises(InputError, match=rf"toy-texts==1\.0.*{digest}.*pins {'0' * 64}"):
        read("toy", package("0" * 64))
    assert list(DOWNLOADS.iterdir()) == []


def test_no_code_of_a_wrong_package_runs(project):
    setup = b"open('/dev/null'); from pathlib import Path; Path(r'%s').touch()" % bytes(project / "ran")
    content = tar_gz({"toy-texts-1.0/setup.py": setup, "toy-texts-1.0/PKG-INFO": b"Name: toy-texts\n"})
    (project / "registry" / "toy-texts-1.0.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match="sha256"):
        download("toy-texts==1.0", "0" * 64, DOWNLOADS)
    assert not (project / "ran").exists()


def test_unknown_package(project):
    with pytest.raises(InputError, match=r"no-such-texts==9: pip cannot download it .*network"):
        download("no-such-texts==9", "0" * 64, DOWNLOADS)


def test_package_without_the_member(wheel):
    digest = wheel({"toy_texts/reviews.csv": CSV.encode()})
    with pytest.raises(InputError, match=r"toy-texts==1\.0 holds no file 'elsewhere\.csv'"):
        read("toy", package(digest, member="elsewhere.csv"))


def test_source_distribution(project):
    content = {"toy-texts-1.0/setup.py": b"raise SystemExit", "toy-texts-1.0/texts/a.txt": b"one\n"}
    path = project / "registry" / "toy-texts-1.0.tar.gz"
    path.write_bytes(tar_gz(content | {"toy-texts-1.0/PKG-INFO": b"Name: toy-texts\nVersion: 1.0\n"}))
    settings = package(sha256(path), member="toy-texts-1.0/texts/a.txt", format="txt", columns=None)
    DOWNLOADS.mkdir()
    shutil.copy(path, DOWNLOADS / settings.sha256)
    assert [row["text"] for row in read("toy", settings)] == ["one"]
    settings.member = "toy-texts-1.0/other.txt"
    with pytest.raises(InputError, match=r"toy-texts==1\.0 holds no file 'toy-texts-1\.0/other\.txt'"):
        read("toy", settings)


@pytest.mark.parametrize("content", [b"no archive", tar_gz({"texts/a.txt": os.urandom(9999)})[:5000]])
def test_package_that_is_no_archive(project, content):
    DOWNLOADS.mkdir()
    digest = hashlib.sha256(content).hexdigest()
    (DOWNLOADS / digest).write_bytes(content)
    with pytest.raises(
        InputError, match=r"toy-texts==1\.0, texts/a\.txt: it cannot be taken out \(.*pin a whole"
    ):
        read("toy", package(digest, member="texts/a.txt", format="txt", columns=None))


def test_rated_snippets_in_a_package(wheel):
    digest = wheel({"rated.tar.gz": tar_gz(rated_snippets())})
    rows = read("toy", package(digest, member="rated.tar.gz", format="icwsm2014", columns=None))
    assert [row["source"].removeprefix("icwsm2014-") for row in rows] == ["movies", "amazon", "nyt", "tweets"]
    assert {tuple(row["ratings"]) for row in rows} == {(1, 2, -4)}
    assert rows[3]["text"] == "a tweets text"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"h/tweets_anonDataRatings.txt": None}, "lacks 'tweets_anonDataRatings.txt'"),
        ({"h/tweets_anonDataRatings.txt": b"2\t1\t1\t[1]\n"}, "lacks '1': it is not the archive"),
        ({"h/tweets_GroundTruth.txt": b"1\ttext\n"}, r"tweets_GroundTruth\.txt:1 has 2 fields, not 3"),
        ({"h/tweets_GroundTruth.txt": b"1\t1\t\xff\n"}, r"tweets_GroundTruth\.txt:1 is not UTF-8: byte 4"),
    ],
)
def test_other_archive_than_the_rated_snippets(wheel, changed, said):
    tables = {name: content for name, content in (rated_snippets() | changed).items() if content is not None}
    digest = wheel({"rated.tar.gz": tar_gz(tables)})
    with pytest.raises(InputError, match=rf"toy-texts==1\.0/rated\.tar\.gz.*{said}"):
        read("toy", package(digest, member="rated.tar.gz", format="icwsm2014", columns=None))


@pytest.mark.parametrize("damaged", [tar_gz(rated_snippets())[:-30], b"no archive at all"])
def test_damaged_archive_of_rated_snippets(wheel, damaged):
    digest = wheel({"rated.tar.gz": damaged})
    with pytest.raises(InputError, match=r"toy-texts==1\.0/rated\.tar\.gz cannot be read .*get it again"):
        read("toy", package(digest, member="rated.tar.gz", format="icwsm2014", columns=None))


@pytest.mark.parametrize(
    ("member", "format", "pack"),
    [
        ("texts/a.txt", "txt", lambda: b"one\ntwo\n"),
        ("texts/a.txt.gz", "txt", lambda: gzip.compress(b"one\ntwo\n")),
        ("texts/a.jsonl", "jsonl", lambda: b'{"text": "one"}\n{"text": "two"}\n'),
        ("texts/a.parquet", "parquet", lambda: parquet("one", "two")),
        ("texts/a.parquet.gz", "parquet", lambda: gzip.compress(parquet("one", "two"))),
    ],
)
def test_members_of_every_format(wheel, member, format, pack):
    digest = wheel({member: pack()})
    rows = read("toy", package(digest, member=member, format=format, columns=None))
    assert [row["text"] for row in rows] == ["one", "two"]
    assert [path.name for path in DOWNLOADS.iterdir()] == [digest]

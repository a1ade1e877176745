"""Files that are not data: pointers, web pages, and other kinds than the format says."""

from __future__ import annotations

import gzip

import pytest

from jokbo.runtime.errors import InputError
from tests.data.fetch.contents import FORMATS, PACKED, TEXT_FORMATS

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


LOGIN = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head>\n</html>\n"


DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LFS, "is a git-lfs pointer, .*`git lfs pull`"),
        (b"/annex/objects/MD5E-s1--0.txt\n", "is a git-annex pointer, .*`git annex get`"),
        (b"../.git/annex/objects/a/b/c", "is a git-annex pointer"),
        (b"outs:\n- md5: 0\n  size: 3\n", r"is a \.dvc file, .*`dvc pull`"),
        (b"md5: 0\nfrozen: true\ndeps:\n- path: x\n", r"is a \.dvc file"),
        (LOGIN, "is a web page"),
        (b"\xef\xbb\xbf \n<!-- -->\n<HTML lang='en'>\n", "is a web page"),
        (DENIED, r"is a store's refusal \(AccessDenied\)"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".zip"])
def test_what_stands_where_data_should_be(read, content, said, format, suffix):
    for packed in (content, PACKED[suffix](content)):
        with pytest.raises(InputError, match=rf"a\.{format}{suffix} {said}"):
            read(f"a.{format}{suffix}", packed)


def test_documents_of_html_are_data(read):
    content = b"<html><body>one</body></html>\n<html><body>two</body></html>\n"
    assert len(read("a.txt", content)) == 2
    assert len(read("a.txt", b"version https://git-lfs.example/spec\nouts: none\n")) == 2
    with pytest.raises(InputError, match=r"https://host/a\.txt is a web page"):
        read("https://host/a.txt", content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PACKED[".gz"](b"one\n"), r"is gzip by its first bytes, not text: name it \.gz"),
        (PACKED[".zst"](b"one\n"), "is Zstandard by"),
        (PACKED[".xz"](b"one\n"), "is xz by"),
        (PACKED[".bz2"](b"one\n"), "is bzip2 by"),
        (PACKED[".zip"](b"one\n"), "is a zip"),
        (FORMATS["parquet"], "is Parquet by"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        \xb0", "is macOS's companion of a file"),
        (b"%PDF-1.7\n", "is PDF by"),
        (b"a" * 257 + b"ustar\0" + b"\0" * 600, "is a tar archive by"),
        ("any words at all, as before\n".encode("utf-16-le"), "has a NUL for every other byte"),
        (b"one\rtwo\rthree\r", "ends its lines with a carriage return alone"),
    ],
)
@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_other_kinds_of_files_than_text(read, content, said, format):
    for suffix in ("", ".gz"):
        with pytest.raises(InputError, match=rf"a\.{format}{suffix} {said}"):
            read(f"a.{format}{suffix}", PACKED[suffix](content))


def test_other_kinds_of_files_than_parquet(read):
    with pytest.raises(InputError, match=r"a\.parquet is gzip by its first bytes, not Parquet: name it \.gz"):
        read("a.parquet", gzip.compress(FORMATS["parquet"]))

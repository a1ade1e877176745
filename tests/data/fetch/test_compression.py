"""Compressed files: every format in every compression, and damaged ones."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from jokbo.runtime.errors import InputError
from tests.data.fetch.contents import FORMATS, PACKED, texts, zipped


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_in_every_compression(read, format, suffix):
    rows = read(f"a.{format}{suffix}", PACKED[suffix](FORMATS[format]))
    assert texts(rows) == ["één film", "voilà"]
    assert rows[0] == {"text": "één film", "source": "mine", "label": None, "ratings": None}


def test_the_query_of_a_url_is_no_suffix(read):
    assert texts(read("https://host/a.txt.gz?from=b.zip", gzip.compress(b"one\n"))) == ["one"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_all_parts_of_a_concatenated_archive_are_read(read, suffix):
    content = PACKED[suffix](b"one\n") + PACKED[suffix](b"two\n")
    assert texts(read(f"a.txt{suffix}", content)) == ["one", "two"]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("rest", [b"three\n", b"\x01"])
def test_what_follows_a_part_and_is_none_is_not_lost_in_silence(read, suffix, rest):
    damaged = b"\x00" + PACKED[suffix](b"two\n")[1:]
    for content in (PACKED[suffix](b"one\n") + damaged, PACKED[suffix](b"one\n") + rest):
        with pytest.raises(InputError, match=rf"a\.txt\{suffix} cannot be read"):
            read(f"a.txt{suffix}", content)


def test_padding_of_xz_is_none_of_its_content(read):
    packed = PACKED[".xz"]
    found = read("a.txt.xz", packed(b"one\n") + b"\0" * 8 + packed(b"two\n") + b"\0" * 4)
    assert texts(found) == ["one", "two"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("suffix", [suffix for suffix in PACKED if suffix])
def test_truncated_archive(read, format, suffix):
    content = PACKED[suffix](FORMATS[format])
    for end in (len(content) - 1, len(content) // 2, 1):
        with pytest.raises(InputError, match=rf"a\.{format}\{suffix} cannot be read \(.+\)") as caught:
            read(f"a.{format}{suffix}", content[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [suffix for suffix in PACKED if suffix])
def test_archive_that_is_none(read, suffix):
    with pytest.raises(InputError, match=rf"a\.txt\{suffix} cannot be read"):
        read(f"a.txt{suffix}", b"plain text\n" * 9)


def test_damaged_middle_of_an_archive(read):
    content = bytearray(gzip.compress(bytes(range(65, 91)) * 999, compresslevel=0))
    content[5000] ^= 1
    with pytest.raises(InputError, match=r"a\.txt\.gz cannot be read \(CRC"):
        read("a.txt.gz", bytes(content))
    content = bytearray(gzip.compress(b"some text\n" * 999))
    content[12:30] = b"\xff" * 18
    with pytest.raises(InputError, match=r"a\.txt\.gz cannot be read \(Error -3"):
        read("a.txt.gz", bytes(content))


@pytest.mark.parametrize("contents", [(), (b"one\n", b"two\n")])
def test_zip_holds_exactly_one_file(read, contents):
    with pytest.raises(InputError, match=rf"a\.txt\.zip cannot be read \(it holds {len(contents)} files"):
        read("a.txt.zip", zipped(*contents))


def test_zip_with_a_password(read):
    content = bytearray(zipped(b"one\n"))
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    with pytest.raises(InputError, match=r"a\.txt\.zip cannot be read \(.*encrypted"):
        read("a.txt.zip", bytes(content))


def test_what_macos_adds_to_a_zip_is_not_a_second_file(read):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", b"one\n")
        archive.writestr("__MACOSX/._a.txt", b"\0\5\x16\7")
        archive.writestr(".DS_Store", b"\0\0\0\1Bud1")
    assert texts(read("a.txt.zip", stream.getvalue())) == ["one"]

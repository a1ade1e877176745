"""Files among the data that are not data, recognised by their name or their first bytes."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from jokbo.runtime.errors import InputError

HEAD = 1024  # bytes of a file by which its kind is recognised

# of files and folders; the first pattern that fits gives the reason
NAMES = {
    "macOS's": ("._*", ".DS_Store", "__MACOSX"),
    "hidden": (".*",),
    "Spark's": (
        "_SUCCESS",
        "_committed_*",
        "_started_*",
        "_metadata",
        "_common_metadata",
        "_spark_metadata",
        "_temporary",
        "_delta_log",
        "*.crc",
    ),
    "an editor's or a system's": ("~$*", "*~", "*.swp", "Thumbs.db", "desktop.ini", "__pycache__"),
}

POINTERS = (
    (rb"version https://(?:git-lfs|hawser)\.github\.com/spec/", "a git-lfs pointer", "`git lfs pull`"),
    (rb"(?:\.\.?/)*(?:\.git)?/annex/objects/", "a git-annex pointer", "`git annex get`"),
    (rb"(?:(?:md5|frozen|wdir): .*\r?\n)*(?:deps|outs):\r?\n- ", "a .dvc file", "`dvc pull`"),
)
PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype html|html)\b", re.I | re.S
)
REFUSAL = re.compile(rb"(?:<\?xml[^>]*>\s*)?<Error>\s*<Code>(\w+)")  # of S3 and its like

KINDS = (
    (b"\x1f\x8b", "gzip", ".gz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", ".zst"),
    (b"\xfd7zXZ\0", "xz", ".xz"),
    (b"PK\x03\x04", "a zip (an .xlsx is one too)", ".zip"),
    (b"PAR1", "Parquet", ".parquet"),
    (b"\0\x05\x16\x07", "macOS's companion of a file (AppleDouble)", ""),
    (b"\0\x05\x16\0", "a file of macOS's (AppleSingle)", ""),
    (b"ARROW1", "Arrow", ""),
    (b"%PDF-", "PDF", ""),
    (b"\xd0\xcf\x11\xe0", "an old Office document", ""),
    (b"SQLite format 3\0", "an SQLite database", ""),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", ""),
    (b"Rar!\x1a\x07", "RAR", ""),
)


def why(name: str) -> str | None:
    """Return whose a file or a folder of this name is, if it is not data; else None."""
    return next((why for why, patterns in NAMES.items() if any(fnmatchcase(name, p) for p in patterns)), None)


def check_stand_in(head: bytes, location: str) -> None:
    """Raise InputError if a file begins as a pointer or an error page does, which stand for data that are missing."""
    for pattern, what, command in POINTERS:
        if re.match(pattern, head):
            raise InputError(f"{location} is {what}, not the file that it stands for: run {command}")
    if found := REFUSAL.match(head):
        said = found[1].decode()
        raise InputError(
            f"{location} is a store's refusal ({said}), not data: correct the access and get it again"
        )
    # a line that is an HTML document is data; a page of several lines, or a file from the web that is a page, is not
    if PAGE.match(head) and ("://" in location or b"</html>" not in head.strip().partition(b"\n")[0].lower()):
        raise InputError(f"{location} is a web page (of a login or an error?), not data: get the file itself")


def check_kind(head: bytes, location: str, wanted: str) -> None:
    """Raise InputError if a file that should be `wanted`, text or Parquet, begins as something else."""
    kinds = [(what, suffix) for magic, what, suffix in KINDS if head.startswith(magic)]
    if re.match(rb"BZh[1-9]1AY&SY", head):
        kinds = [("bzip2", ".bz2")]
    if head[257:262] == b"ustar":
        kinds = [("a tar archive", "")]
    if kinds and kinds[0][0] != wanted:
        what, suffix = kinds[0]
        advice = f"name it {suffix}, or convert it" if suffix else "convert it, or take it out"
        raise InputError(f"{location} is {what} by its first bytes, not {wanted}: {advice}")
    if wanted == "text" and b"\n" not in head and head.strip().count(b"\r"):
        raise InputError(
            f"{location} ends its lines with a carriage return alone: convert them to line feeds"
        )
    if wanted == "text" and len(head) >= 32 and head[0] < 254 and head.count(0) > 0.4 * len(head):
        raise InputError(
            f"{location} has a NUL for every other byte, as UTF-16 has: convert the file to UTF-8"
        )

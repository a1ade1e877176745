"""What `jokbo doctor` says of a check, whatever that does."""

from __future__ import annotations

import json
from collections.abc import Iterator

from jokbo.team.upkeep import findings
from jokbo.team.upkeep.findings import Finding, ok, refused, warning, wrong


def breaks() -> Iterator[Finding]:
    yield ok("the first half")
    raise OSError("two\nlines of ftp://me:s3cret@host/x")


def test_a_check_that_fails_is_a_finding_and_the_others_go_on() -> None:
    found = list(findings.examined({"broken": breaks, "next": lambda: [ok("fine")]}))
    assert [(name, finding.level) for name, finding in found] == [
        ("broken", "ok"),
        ("broken", "wrong"),
        ("next", "ok"),
    ]
    assert found[1][1].found == "this could not be looked at (OSError: two lines of ftp://***@host/x)"


def test_no_secret_is_shown_neither_of_what_was_found_nor_of_what_to_do() -> None:
    url = "https://me:s3cret@host/store?token=geheim"
    ((_, shown),) = findings.examined({"x": lambda: [warning(f"at {url}", f"use {url} \x1b[2J")]})
    assert shown.found == "at https://***@host/store?token=***"
    assert shown.do == "use https://***@host/store?token=*** \\x1b[2J"


def test_a_warning_is_not_wrong() -> None:
    assert findings.is_right([("x", ok("")), ("x", warning("", ""))])
    assert not findings.is_right([("x", ok("")), ("x", wrong("", ""))])


def test_what_a_line_of_ours_says_to_do_is_what_to_do() -> None:
    assert refused(ValueError("params.yaml: seed: is -1: give 0 or more")) == wrong(
        "params.yaml: seed: is -1", "give 0 or more"
    )


def test_as_json_each_has_its_check() -> None:
    (one,) = json.loads(findings.as_json([("gpu", warning("none", "buy one"))]))
    assert one == {"check": "gpu", "level": "warning", "found": "none", "do": "buy one"}

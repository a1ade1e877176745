"""A file that a person wrote is read in bounded time and memory, and a fault in it is one short line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jokbo import params
from jokbo.runtime.errors import InputError

SHIPPED = Path(__file__).parents[2] / "params.yaml"


def _multiplied(levels: int) -> str:
    """Return a file of a few kB that stands for nine to the power of `levels` values."""
    lines = ["b0: &b0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def _merged(levels: int) -> str:
    lines = ["b0: &b0 {x: 1}"]
    lines += [f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.timeout(60)  # one that is not refused has no end
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_multiplied(30), "line 6: more than 100,000 values, aliases written out"),
        (_merged(30), "line 6: more than 100,000 values, aliases written out"),
        ("a: " + "[" * 3000 + "]" * 3000, "line 1: more than 50 lists or sections in one another"),
        ("- " * 3000 + "a", "line 1: more than 50 lists or sections in one another"),
        ("? " * 3000, "line 1: more than 50 lists or sections in one another"),
        ("a: " + "x" * 1_000_000, "longer than 1,000,000 bytes"),
        ("a: &a " + "x" * 900_000 + "\nb: [" + "*a, " * 20_000 + "]", "a is not a known key"),
        ("x" * 900_000 + ": 1", "not YAML"),
        ("? " + "x" * 900_000 + "\n: 1", "is not a known key: remove it"),
        ("compute: " + "x" * 900_000, "compute is 'xxx"),
        ("", "it is empty: it must hold sections"),
        ("# nothing\n", "it is empty: it must hold sections"),
        ("- 1\n- 2\n", "it holds [1, 2]: it must hold sections"),
        ("hello", "it holds 'hello': it must hold sections"),
        ("a: !!python/object:os.system x", "line 1: a type, tag:yaml.org,2002:python/object:os.system"),
        ("{[a]: 1, {b: 2}: 3}", "line 1: found unhashable key: a key must be a word"),
    ],
)
def test_a_file_that_would_take_without_end_is_refused_in_one_short_line(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        params.load(path)
    message = str(raised.value)
    assert said in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + params.LINE


def test_a_byte_order_mark_and_other_ends_of_lines_change_nothing(tmp_path: Path) -> None:
    path, shipped = tmp_path / "params.yaml", params.load(SHIPPED)
    for text in ("\ufeff" + SHIPPED.read_text(), SHIPPED.read_text().replace("\n", "\r\n")):
        path.write_bytes(text.encode())
        assert params.load(path) == shipped


def test_the_line_of_a_syntax_error_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("compute:\n\tprocesses: 1\n")
    with pytest.raises(InputError, match="line 2: a tab"):
        params.load(path)


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes(b"\nseed: \xff")
    with pytest.raises(InputError, match="line 2: byte 7 is not UTF-8"):
        params.load(tmp_path / "params.yaml")
    with pytest.raises(InputError, match="not a file"):
        params.load(tmp_path)

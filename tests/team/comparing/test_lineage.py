"""Who something descends from, as text, as JSON and as a picture."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from jokbo.runtime.errors import InputError
from jokbo.team.comparing import lineage, picture
from jokbo.team.comparing.lineage import Node


@pytest.fixture
def node() -> Node:
    """A model whose parents share a parent."""
    base = Node("models/base", "b" * 64, "weights", "pretrain", "k1", "c0ffee", data={"data/tokens": "t"})
    policy = Node("models/policy", "p" * 64, "weights", "finetune", "k2", None, parents=[base])
    lost = Node("models/lost", "l" * 64, "weights")
    return Node("align 1234", "k3", "key", "align", "k3", "c0ffee", {"seed": 1}, parents=[policy, base, lost])


def test_what_is_met_again_is_only_named_and_what_is_not_known_is_said(node: Node) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(lineage.tree(node))
    assert [line.strip(" │├└─") for line in console.file.getvalue().splitlines()] == [
        "align 1234  by align  c0ffee  key k3",
        "models/policy  by finetune  commit unknown  weights pppppppppppp",
        "models/base  by pretrain  c0ffee  weights bbbbbbbbbbbb",
        "data/tokens",
        "models/base  as above",
        "models/lost  weights llllllllllll, of which no record is there",
    ]


def test_json_has_each_once_with_its_parents(node: Node) -> None:
    nodes = {each["name"]: each for each in lineage.json_of(node)["nodes"]}
    assert list(nodes) == ["align 1234", "models/policy", "models/base", "models/lost"]
    parents = [parent["name"] for parent in nodes["align 1234"]["parents"]]
    assert parents == ["models/policy", "models/base", "models/lost"]
    assert nodes["models/base"]["data"] == {"data/tokens": "t"}


def test_the_picture_names_every_one_and_is_the_same_each_time(node: Node, tmp_path: Path) -> None:
    one, two = tmp_path / "new/one.svg", tmp_path / "two.svg"
    picture.save(node, one)
    picture.save(node, two)
    assert one.read_bytes() == two.read_bytes()
    for each in lineage.every(node):
        assert f"<!-- {each.name}" in one.read_text()  # matplotlib draws letters, and says in a comment which
    picture.save(node, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_picture_is_refused(node: Node, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--picture .*one\.txt: its name must end with \.svg or \.png"):
        picture.save(node, tmp_path / "one.txt")

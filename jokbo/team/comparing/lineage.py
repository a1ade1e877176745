"""Who something descends from: models by their records, all else by what DVC remembers; as text, JSON or picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.markup import escape
from rich.tree import Tree

from jokbo.runtime import environment
from jokbo.runtime.ancestry import Record
from jokbo.runtime.tracking import flat

Commits = Callable[[str], str | None]  # the key of a stage -> the commit at which it ran


@dataclass(frozen=True)
class Node:
    """Something that a stage made, with what it was made from."""

    name: str  # its path, or what a run is called
    hash: str
    of: str  # what it is a hash of: `weights` (sha256), `md5` (DVC's) or `key` (a stage's identity)
    stage: str | None = None  # None if nothing is known of it
    key: str | None = None
    commit: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)  # inputs that are no parents, by hash
    code: Mapping[str, str] = field(default_factory=dict)
    environments: Sequence[Mapping[str, Any]] = ()
    parents: Sequence[Node] = ()


def of_model(name: str, record: Record, known: Mapping[str, tuple[str, Record]], commit_of: Commits) -> Node:
    """Return the lineage of a model by its record; `known` are those that there are, by the hash of the weights."""

    def parent(path: str, weights: str) -> Node:
        found = known.get(weights)
        # a model that was adopted as it is has its parent's weights
        if found is None or found[1] == record:
            return Node(path, weights, "weights")
        return of_model(*found, known, commit_of)

    parents = [parent(path, weights) for path, weights in record.parents.items()]
    commit = commit_of(record.key)
    made = (record.stage, record.key, commit, record.params, record.data, record.code, record.environments)
    return Node(name, record.weights, "weights", *made, parents)


def every(node: Node) -> Iterator[Node]:
    """Yield a node and all that it descends from, each once."""
    met: set[tuple[str, str]] = set()

    def walk(node: Node) -> Iterator[Node]:
        if (node.name, node.hash) not in met:
            met.add((node.name, node.hash))
            yield node
            for parent in node.parents:
                yield from walk(parent)

    return walk(node)


def json_of(node: Node) -> dict[str, Any]:
    """Return all that is known for machines: each of `nodes` once, with the names and hashes of its parents."""
    nodes = []
    for each in every(node):
        own = asdict(each)
        own["parents"] = [{"name": parent.name, "hash": parent.hash} for parent in each.parents]
        nodes.append(own)
    return {"name": node.name, "hash": node.hash, "nodes": nodes}


def tree(node: Node, *, everything: bool = False) -> Tree:
    """Return a lineage as a tree to print: a line each, and the data of what has no parents; with `everything` also
    code, data, parameters and environments. What is met again is only named.
    """
    met: set[tuple[str, str]] = set()

    def branch_of(node: Node) -> Tree:
        met.add((node.name, node.hash))
        commit = node.commit or "commit unknown"
        if not everything:
            commit = "commit unknown" if commit.startswith("unknown") else commit[:14]
        made = f"by [cyan]{node.stage}[/]  {escape(commit)}"
        branch = Tree(f"[bold]{escape(node.name)}[/]  {made}  {node.of} {node.hash[:12]}")
        if everything:
            _add_all(branch, node)
        elif not node.parents and node.data:
            branch.add(", ".join(node.data))
        for parent in node.parents:
            if (parent.name, parent.hash) in met:
                branch.add(f"[bold]{escape(parent.name)}[/]  as above")
            elif parent.stage:
                branch.add(branch_of(parent))
            else:
                told = f"{parent.of} {parent.hash[:12]}, of which no record is there"
                branch.add(f"[bold]{escape(parent.name)}[/]  {told}")
        return branch

    return branch_of(node)


def _add_all(branch: Tree, node: Node) -> None:
    branch.add(f"code: {len(node.code)} files and folders")
    for found in node.environments:
        branch.add(escape(f"made on {environment.summary(found)}"))
    for title, found in (("data", node.data), ("params", flat(node.params))):
        if found:
            twig = branch.add(title)
            for key, value in found.items():
                twig.add(escape(f"{key}: {value}"))

"""Counts and examples that a step collects, and how those of many shards become one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

EXAMPLES = 5  # kept of each reason
EXCERPT = 300  # characters kept of a text

Example = tuple[str, ...]  # its rank, its source, and one or more texts


class Tally:
    """Counts under paths of names, and of each reason the examples of the lowest rank.

    preview: returns what may be shown of a text. It is called on the texts of examples only.
    """

    def __init__(self, preview: Callable[[str], str] = str) -> None:
        self._preview = preview
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def add(self, *path: str, count: int = 1) -> None:
        """Add to the count under a path of names."""
        self._counts[path] += count

    def example(self, reason: str, rank: bytes, source: str, *texts: str) -> None:
        """Keep an example if its rank is among the lowest of its reason.

        The rank is a hash of the example. So which examples stay does not depend on where they were found.
        """
        examples = self._examples[reason]
        if len(examples) < EXAMPLES or rank.hex() <= examples[-1][0]:
            one = (rank.hex(), source, *(_excerpt(self._preview(text)) for text in texts))
            self._examples[reason] = _lowest([*examples, one])

    def counts(self) -> dict[str, Any]:
        """Return the counts as nested dicts, and under `examples` a list for each reason."""
        tree: dict[str, Any] = {}
        for path, count in self._counts.items():
            node = tree
            for name in path[:-1]:
                node = node.setdefault(name, {})
            node[path[-1]] = int(count)
        return {**tree, "examples": self._examples}


def total(counts: Sequence[Any]) -> Any:
    """Return the counts of parts as counts of the whole: numbers add up, the lowest examples stay.

    The order of the parts does not matter.
    """
    if isinstance(counts[0], dict):
        names = sorted({name for each in counts for name in each})
        return {name: total([each[name] for each in counts if name in each]) for name in names}
    if isinstance(counts[0], list):
        return _lowest(example for each in counts for example in each)
    return sum(counts)


def _lowest(examples: Iterable[Sequence[str]]) -> list[Example]:
    return sorted({tuple(example) for example in examples})[:EXAMPLES]


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]} [...]"

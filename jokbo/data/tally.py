"""What a step counted and some examples of it, and how those of many shards become one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

EXAMPLES = 5  # kept of each reason
EXCERPT = 300  # characters kept of a text

Example = tuple[str, ...]  # its rank, its source, and one or more texts


class Tally:
    """Counts under paths of names, and of each reason the examples of the lowest rank.

    shown: makes of a text what may be shown of it; it is asked about examples alone.
    """

    def __init__(self, shown: Callable[[str], str] = str) -> None:
        self._shown = shown
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def add(self, *path: str, count: int = 1) -> None:
        self._counts[path] += count

    def example(self, reason: str, rank: bytes, source: str, *texts: str) -> None:
        """Rank is a hash of the example, so that which ones stay does not depend on where they were found."""
        examples = self._examples[reason]
        if len(examples) < EXAMPLES or rank.hex() <= examples[-1][0]:
            one = (rank.hex(), source, *(_excerpt(self._shown(text)) for text in texts))
            self._examples[reason] = _lowest([*examples, one])

    def facts(self) -> dict[str, Any]:
        """Counts as nested dicts, and under `examples` a list a reason."""
        tree: dict[str, Any] = {}
        for path, count in self._counts.items():
            node = tree
            for name in path[:-1]:
                node = node.setdefault(name, {})
            node[path[-1]] = int(count)
        return {**tree, "examples": self._examples}


def total(facts: Sequence[Any]) -> Any:
    """Facts of parts as facts of the whole, in whatever order: numbers add up, the lowest examples stay."""
    if isinstance(facts[0], dict):
        names = sorted({name for fact in facts for name in fact})
        return {name: total([fact[name] for fact in facts if name in fact]) for name in names}
    if isinstance(facts[0], list):
        return _lowest(example for fact in facts for example in fact)
    return sum(facts)


def _lowest(examples: Iterable[Sequence[str]]) -> list[Example]:
    return sorted({tuple(example) for example in examples})[:EXAMPLES]


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]} [...]"

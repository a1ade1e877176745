"""What a step counted and some examples of it, and how those of many shards become one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

EXAMPLES = 5  # kept of each reason
EXCERPT = 300  # characters kept of a text

Example = tuple[str, ...]  # its rank, its source, and one or more texts


class Tally:
    """Counts under paths of names, and of each reason the examples of the lowest rank."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def add(self, *path: str, count: int = 1) -> None:
        self._counts[path] += count

    def example(self, reason: str, rank: bytes, source: str, *texts: str) -> None:
        """Rank is a hash of the example, so that which ones stay does not depend on where they were found."""
        examples = self._examples[reason]
        examples.append((rank.hex(), source, *map(_excerpt, texts)))
        if len(examples) > 100 * EXAMPLES:
            self._examples[reason] = _lowest(examples)

    def facts(self) -> dict[str, Any]:
        """Counts as nested dicts, and under `examples` a list a reason."""
        tree: dict[str, Any] = {}
        for path, count in self._counts.items():
            node = tree
            for name in path[:-1]:
                node = node.setdefault(name, {})
            node[path[-1]] = int(count)
        return {**tree, "examples": {reason: _lowest(found) for reason, found in self._examples.items()}}


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

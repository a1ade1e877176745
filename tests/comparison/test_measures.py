"""What the comparison measures itself, against what can be worked out on paper."""

from __future__ import annotations

import pytest

from jokbo.comparison import measures
from jokbo.systems.common import SpecialTokens


def test_plain_attention_keeps_its_weights_and_fused_attention_does_not() -> None:
    """Of 2 layers, 4 heads and 4 bytes a number: softmax's result at least; the rest grows with the length alone."""
    found = measures.attention_memory(SpecialTokens(0, 1, 2, 3, 4, 5))
    squares = [2 * 4 * 4 * length**2 / 1e6 for length in found["length"]]
    for plain, fused, square in zip(found["plain"], found["fused"], squares, strict=True):
        assert plain - fused > 0.9 * square
    assert found["fused"][-1] / found["fused"][0] == pytest.approx(
        found["length"][-1] / found["length"][0], rel=0.02
    )

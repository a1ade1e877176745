"""Parameters of every system at its papers' sizes: one table, printed whatever comes out, held against the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from jokbo.systems.common import Paper
from tests.systems.all_systems import NAMES, SPECIAL_TOKENS, module_of

NOT_COUNTED: dict[str, Callable[[str, Tensor], bool]] = {  # by the papers: `Paper.counted` says so in words
    "bahdanau": lambda name, _: "bias" in name,
    "electra": lambda name, _: not name.startswith("discriminator"),
    "elmo": lambda name, _: name.startswith("softmax"),
    "fast_weights": lambda _, parameter: parameter.ndim == 1,
    "sentiment_neuron": lambda name, _: name.endswith("original0"),
    "spanbert": lambda name, _: name.startswith("boundary"),
}
MUST_HAVE = {  # millions
    ("gpt1", "gpt"): 117,
    ("gpt2", "small"): 124,
    ("gpt2", "xl"): 1558,
    ("bert", "base"): 110,
    ("roberta", "base"): 125,
    ("albert", "base"): 12,
    ("electra", "small"): 14,
    ("distilbert", "base"): 66,
    ("deberta", "base"): 139,
    ("xlnet", "base"): 117,
    ("xlm", "xnli-15"): 250,
    ("bart", "base"): 139,
    ("t5", "base"): 220,
    ("transformer", "base"): 65,
    ("ulmfit", "AWD-LSTM"): 24,
}


class Row(NamedTuple):
    system: str
    size: str
    paper: Paper
    measured: int

    @property
    def difference(self) -> float:
        """As a share of the paper's count."""
        return self.measured / self.paper.parameters - 1

    def __str__(self) -> str:
        counts = "".join(f"{count / 1e6:12,.2f}" for count in (self.measured, self.paper.parameters))
        return f"{self.system:17}{self.size:11}{self.paper.counted:40}{counts}{self.difference:+12.2%}"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [
        Row(name, size, paper, measured(name, paper))
        for name in NAMES
        for size, paper in module_of(name).PAPER_SIZES.items()
    ]


def measured(name: str, paper: Paper) -> int:
    with torch.device("meta"):
        network = module_of(name).network(paper.size, SPECIAL_TOKENS, 0)
    left_out = NOT_COUNTED.get(name, lambda *_: False)
    return sum(each.numel() for key, each in network.named_parameters() if not left_out(key, each))


def test_parameters_are_as_many_as_the_papers_say(
    rows: list[Row], record_property: Callable[[str, str], None]
) -> None:
    heading = f"{'system':17}{'size':11}{'counted':40}{'measured, M':>12}{'paper, M':>12}{'difference':>12}"
    record_property("parameters at the papers' sizes", "\n".join([heading, *map(str, rows)]))
    wrong = [str(row) for row in rows if abs(row.difference) > row.paper.tolerance]
    assert wrong == []


def test_the_best_known_sizes_are_among_them(rows: list[Row]) -> None:
    published = {(row.system, row.size): row.paper.parameters / 1e6 for row in rows}
    assert published.items() >= MUST_HAVE.items()


def test_what_is_left_out_is_said(rows: list[Row]) -> None:
    """... and of what is said to be all, nothing is left out."""
    for row in rows:
        assert (row.paper.counted.startswith("all but") or "discriminator" in row.paper.counted) == (
            row.system in NOT_COUNTED
        )

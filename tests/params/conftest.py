"""Raw rows of the miniature, and what is counted of them."""

from __future__ import annotations

import operator
import random
from pathlib import Path

import pytest

from jokbo.data.counts import Counts
from jokbo.data.files.rows import RAW_SCHEMA
from jokbo.data.tables import write_shards
from tests.params.settings import counted, settings
from tests.support import miniature


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    rows = miniature.rows(random.Random(7))
    labels = ({"label": row["label"] if row["label"] is None else str(row["label"])} for row in rows)
    write_shards(map(operator.or_, rows, labels), folder / "reviews", RAW_SCHEMA)
    return folder


@pytest.fixture(scope="session")
def counts(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Counts:
    return counted(raw, tmp_path_factory.mktemp("work"), settings())

"""A small text, and settings of a sweep that trains on it in seconds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from jokbo import params
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.tables import write_shards
from jokbo.scaling import text as texts
from jokbo.scaling.run import Text
from tests.conftest import ROOT
from tests.support.corpora import document

TEXT = "a film of some length that its makers took their time with and that we saw twice in one week"


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of documents, as the stage prepare leaves them."""
    folder = tmp_path_factory.mktemp("documents")
    for split, count in (("train", 200), ("validation", 20)):
        words = TEXT.split()
        made = [
            document(" ".join(words[(i * j) % len(words)] for j in range(40)), "imdb") for i in range(count)
        ]
        write_shards(made, folder / split, pa.schema(DOCUMENT_SCHEMA))
    return folder


@pytest.fixture(scope="session")
def text(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Text:
    whole, chain = shipped(), params.load(ROOT / "params.yaml")
    tokenizer = whole.scaling.tokenizer
    assert tokenizer is not None
    return texts.of_documents(documents, tokenizer, chain.tokenize, tmp_path_factory.mktemp("text"))


def shipped() -> params.ScalingParams:
    return params.load_scaling(ROOT / "scaling/params.yaml", ROOT / "params.yaml")


@pytest.fixture(scope="session")
def small() -> params.ScalingParams:
    """The settings that are shipped, for two tiny networks and a short context."""
    whole = shipped()
    scaling = whole.scaling.model_copy(
        update={
            "context": 16,
            "batch_size": 8,
            "sizes": {
                "small": params.Size(layers=1, hidden_size=8, heads=1),
                "large": params.Size(layers=2, hidden_size=16, heads=2),
            },
            "held_out_windows": 8,
            "least_steps": 4,
            "most_epochs": 100.0,
            "budgets": [2e8, 4e8],
            "rates": whole.scaling.rates.model_copy(update={"sizes": ["small", "large"], "steps": 4}),
        }
    )
    compute = whole.compute.model_copy(update={"checkpoint_seconds": 0.0})
    return whole.model_copy(update={"scaling": scaling, "compute": compute})

"""Sources of the kind hub, read from folders of this machine."""

from __future__ import annotations

import datasets
import pytest

from jokbo.data.fetch.sources import read_source
from jokbo.runtime.errors import InputError
from tests.data.conftest import CSV, hub, local
from tests.data.fetch.reading import DOWNLOADS, ROWS, read


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_data_set(project, hub_cache, streaming):
    path = local("set/train.csv", CSV.encode()).parent
    columns = {"text": "text", "label": "label", "source": "source"}
    assert read("mine", hub(path, columns=columns, streaming=streaming)) == ROWS
    assert (
        bool(list((project / "cache").rglob("*.arrow"))) is not streaming
    )  # the whole set is on disk or not


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_data_set_that_is_not_there(project, hub_cache, streaming):
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: \S*nowhere cannot be loaded"):
        read("mine", hub(project / "nowhere", streaming=streaming))


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_data_set_that_breaks_off(project, hub_cache, streaming):
    path = local("set/train.jsonl", b'{"text": "one"}\n{"text": \n').parent
    with pytest.raises(InputError, match=r"fetch\.sources\.mine: \S*set cannot be loaded \(.+\)") as caught:
        read("mine", hub(path, streaming=streaming))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_column_that_is_not_there(project, hub_cache, streaming):
    path = local("set/train.csv", CSV.encode()).parent
    with pytest.raises(InputError, match=r"has no column 'body': it has 'text', 'label', 'source'"):
        read("mine", hub(path, columns={"text": "body"}, streaming=streaming))


@pytest.mark.parametrize("streaming", [False, True])
def test_hub_row_that_is_too_long_or_no_text(project, hub_cache, streaming):
    path = local("set/train.jsonl", b'{"text": "one"}\n{"text": "too long"}\n{"text": null}\n').parent
    rows = read_source("mine", hub(path, streaming=streaming), DOWNLOADS, 5)
    assert [next(rows)["text"], next(rows)[1]] == ["one", "too long"]
    with pytest.raises(InputError, match=r"set, row 2: column 'text' is None, not text"):
        next(rows)
